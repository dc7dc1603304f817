"""Threefold: GANs, inverse reinforcement learning and energy-based models as one benchmark.

What a researcher extends is in `algorithms`, `envs` and `studies`; this package drives it. Its rooms, from the lowest
to the highest, import downwards only: base, store, profile, experts, cells and tables, launch and report, commands.
"""
