"""Starting a training on many processes and nodes: here, by Slurm, on Kubernetes, over ssh."""
