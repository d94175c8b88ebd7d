"""Training on Megatron-Core: the model, one step, the loss, and what a checkpoint holds."""
