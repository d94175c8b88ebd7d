"""Where a process stands that trains alone."""

import torch

from pretrain.layout import Layout
from pretrain.parallel import Place

ALONE = Place(
    layout=Layout(),
    device=torch.device("cpu"),
    rank=0,
    world_size=1,
    tensor_rank=0,
    pipeline_rank=0,
    data_rank=0,
    data_size=1,
)
