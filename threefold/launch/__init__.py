"""Many cells at a time: on this machine, or on a Ray cluster."""
