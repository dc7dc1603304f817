"""Where long work is done, so that none of it is lost: by fingerprint, under a lock, with checkpoints."""
