"""Guided cost learning where everything is known: a point mass, and costs that are quadratic."""
