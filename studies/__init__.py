"""The theory, measured: the connection of Finn et al. 2016 on random energies, and densities in two dimensions.

A study is a command, `python -m studies.<name>`, and its size is `studies.<name>` of a profile's params.yaml.
"""
