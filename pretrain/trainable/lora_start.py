"""Where low-rank updates begin: on both backends and at every layout alike, by the name of the layer."""

import math
from hashlib import sha256

import torch


def initial_a(layer: str, rank: int, inputs: int, *, seed: int) -> torch.Tensor:
    """Return the A matrix of a layer, of shape [rank, inputs], fp32; B begins at 0, so that the model begins as it is.

    It is drawn as PEFT draws it: Kaiming's uniform with a = sqrt(5), which is within 1 / sqrt(inputs).

    Args:
        layer: Hugging Face name, such as ``model.layers.0.self_attn.q_proj``.
        rank: Of the update.
        inputs: Features that enter the layer.
        seed: Of the run.
    """
    generator = torch.Generator().manual_seed(int(sha256(f"{seed}/{layer}".encode()).hexdigest()[:15], 16))
    bound = 1 / math.sqrt(inputs)
    return torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator)
