"""Tensors of a checkpoint: safetensors throughout, the optimizer's too, so that reading one never runs code."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from hanlm.errors import ArtifactError


def write_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Write tensors by name.

    Raises:
        OSError: If the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:  # keeps the system's words and loses the number
        raise OSError(str(error)) from error


def read_tensors(file: Path, expected: Mapping[str, torch.Size]) -> Iterator[tuple[str, torch.Tensor]]:
    """Give the tensors of a file, one after the other.

    Raises:
        ArtifactError: If names or shapes are not the expected ones.
    """
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        shapes = {name: torch.Size(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        if shapes != dict(expected):
            differing = sorted(n for n in shapes.keys() | expected.keys() if shapes.get(n) != expected.get(n))
            raise ArtifactError(
                f"{file} does not hold what this model needs ({', '.join(differing[:3])}); it was written by another "
                "version of transformers or of HanLM: use that one, or remove the checkpoints to start over."
            )
        for name in shapes:
            yield name, opened.get_tensor(name)
