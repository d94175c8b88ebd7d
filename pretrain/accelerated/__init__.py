"""Continued pretraining with transformers and accelerate, for causal models that megatron-core does not fit."""
