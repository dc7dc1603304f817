"""Experts and demonstrations: the programs that make them, and beside params.yaml what they made.

experts/<task>/           policy.safetensors, card.json
demonstrations/<task>/    trajectories.safetensors, card.json: no reward inside
"""
