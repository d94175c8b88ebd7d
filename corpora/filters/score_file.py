"""A score's model on disk: one safetensors file, whose header names its kind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlm.errors import ArtifactError

_HEADER = "hanlm_score"
_VERSION = 1


def write_score_file(path: Path, kind: str, tensors: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Write the tensors, and the header as one entry of canonical JSON: the same model is the same bytes."""
    from safetensors.numpy import save_file

    text = json.dumps({"kind": kind, "version": _VERSION, **header}, sort_keys=True)
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path, {_HEADER: text})


def read_score_file(path: Path, kind: str | None = None) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return tensors and header.

    Raises:
        ArtifactError: If the file is missing, damaged, or not of the kind asked for.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path} is no whole model of the step score ({error}); build the corpus again.") from None
    if header.get("version") != _VERSION or (kind is not None and header.get("kind") != kind):
        raise ArtifactError(
            f"{path} is a score's model of kind {header.get('kind')!r}, version {header.get('version')}; expected "
            f"{kind or 'any kind'!r}, version {_VERSION}: build the corpus again."
        )
    return tensors, header
