"""Continued pretraining on Megatron-Core, on CPU and GPU from the same code."""
