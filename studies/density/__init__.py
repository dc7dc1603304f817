"""Densities in the plane, where everything is known."""
