"""Whether a reward that AIRL learns survives a change of dynamics (Fu, Luo & Levine 2018, section 7)."""
