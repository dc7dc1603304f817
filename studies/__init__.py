"""The theory, measured. A folder here is a study, found by `studies.registry`; what studies share is in `core`."""
