"""Utilities: data loading, hooks, checkpoints."""
