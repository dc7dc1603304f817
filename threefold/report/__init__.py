"""Figures, tables and the report, from collected results and published numbers. No torch, no mujoco."""
