"""Trains one configuration after another in the processes of one torchrun; starting it takes longer than training."""

import pickle
import sys
from pathlib import Path

import torch

if __name__ == "__main__":
    from pretrain.train import pretrain

    torch.set_num_threads(1)
    for config in pickle.loads(Path(sys.argv[1]).read_bytes()):
        pretrain(config)
