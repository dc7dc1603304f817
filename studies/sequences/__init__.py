"""Short sequences of tokens, all of them enumerated: EB-SeqGAN beside its kin, and sessions with a known optimum."""
