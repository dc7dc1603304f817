"""Short sequences of tokens, all enumerated: EB-SeqGAN beside related methods, and sessions with a known optimum."""
