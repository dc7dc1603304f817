"""A profile: what its params.yaml asks for, read and checked."""
