"""Generative adversarial imitation from pixels, on grid worlds where every occupancy is known."""
