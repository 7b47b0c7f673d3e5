"""Tensor programs recorded as their operations, and run fast."""
