"""Training: the loop, one step, validation, checkpoints."""
