"""Tables of results: their columns, how they are gathered, and their statistics. No torch, no mujoco."""
