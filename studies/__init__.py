"""The theory, measured: the connection of Finn et al. 2016 on random energies, and densities in two dimensions."""
