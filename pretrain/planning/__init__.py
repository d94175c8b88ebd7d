"""Before GPUs are spent: what a layout takes of memory, time and money, and whether a machine can do it."""
