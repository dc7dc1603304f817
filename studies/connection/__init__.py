"""The three claims of Finn et al. 2016 on random neural energies."""
