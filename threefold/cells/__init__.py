"""Cells: one row on one task, all its learners; from what they are made to what they become."""
