"""Trains one configuration after another in the processes of one torchrun; starting it takes longer than training."""

import pickle
import sys
from pathlib import Path

import torch

from pretrain.parallel import process_group
from pretrain.train import pretrain

if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group():  # once: see there
        for config in pickle.loads(Path(sys.argv[1]).read_bytes()):
            pretrain(config)
