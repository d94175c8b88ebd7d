"""Weights between Hugging Face folders, Megatron's parameters and checkpoints, one tensor in memory at a time."""
