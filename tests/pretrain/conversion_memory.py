"""Started by a test: how much memory it takes to publish a checkpoint, and to read a base, beyond what was there."""

import sys
from pathlib import Path

import torch
from places import ALONE

from pretrain.families import ModelShape, read_shape
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.checkpoint_tensors import CheckpointTensors
from pretrain.weights.convert import local_weights
from pretrain.weights.export_weights import write_weights


def read_bytes(name: str) -> int:
    """Return a line of this process's status, such as VmHWM, the peak of its memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> int:
    """Let the peak begin at what is held now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_bytes("VmRSS")


def load_all(source: HuggingFaceWeights, shape: ModelShape) -> None:
    """Read every parameter of the base as a process that trains alone does, and hold none."""
    names = [weight.megatron.format(layer) for weight, layer in shape.parameters()]
    weights = local_weights(names, source, shape, ALONE, vocab_rows=shape.vocab_size)
    for name in weights:
        weights[name].to(torch.float32)


def main(base: Path, checkpoint: Path, out: Path) -> None:
    """Print the two peaks in bytes, without the base's mapped pages: those the system takes back when it likes."""
    shape, source = read_shape(base), HuggingFaceWeights(base)
    CheckpointTensors(checkpoint)("decoder.final_layernorm.weight")  # loads the libraries
    for convert in (
        lambda: write_weights(CheckpointTensors(checkpoint), out, base, shape, max_shard_bytes=2**23),
        lambda: load_all(source, shape),
    ):
        before, mapped = forget_peak(), read_bytes("RssFile")
        convert()
        print(read_bytes("VmHWM") - before - max(0, read_bytes("RssFile") - mapped))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
