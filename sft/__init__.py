"""Supervised fine-tuning: instruction rows in, a LoRA adapter and a merged chat model out; tasks and chat beside it."""
