"""Experts and demonstrations: trained, measured, written and read."""
