"""Checkpoints: written, found, verified."""
