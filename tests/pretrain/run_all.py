"""Trains one configuration after another in the processes of one torchrun; starting it takes longer than training.

The processes join each other once: a second time they would find the addresses of the first in torchrun's store.
"""

import pickle
import sys
from pathlib import Path

import torch

from pretrain import parallel
from pretrain.train import pretrain


def main(configs: Path) -> None:
    """Train all of them."""
    from megatron.core import parallel_state
    from torch import distributed as dist

    torch.set_num_threads(1)
    device = parallel._join(2)
    parallel._join = lambda _world_size: device
    parallel._leave = parallel_state.destroy_model_parallel
    for config in pickle.loads(configs.read_bytes()):
        pretrain(config)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
