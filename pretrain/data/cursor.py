"""The data cursor: which sample comes next and the hash of the order it comes from, kept in every checkpoint."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hanlm.errors import ArtifactError
from pretrain.parallel import Place
from pretrain.watching.replay import Series

_BLEND = ("dataset_index", "dataset_sample_index")
_SET = ("document_index", "sample_index", "shuffle_index")
_CHUNK = 1 << 20  # elements


def index_hash(train: Any, place: Place) -> str:
    """Return the hash of an order of samples: which set, which documents, from which token on.

    Args:
        train: A GPT data set of megatron-core, a blend of them, or a blend that changes on the way.
        place: This process's place; all processes call it.

    Raises:
        ArtifactError: If processes have read different orders.
    """
    total = hashlib.sha256()
    for name, array in _arrays(train):
        total.update(f"{name} {array.dtype.str} {array.shape}\0".encode())
        for start in range(0, len(array), _CHUNK):
            total.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
    everyone = place.share(total.hexdigest())
    others = [rank for rank, theirs in enumerate(everyone) if theirs != everyone[0]]
    if others:
        raise ArtifactError(
            f"expected the same order of training samples on every process, but process {others[0]} read another one "
            "than process 0; OUT.work must lie on storage that every process sees, and all need the same versions of "
            "megatron-core and numpy."
        )
    return everyone[0]


def _arrays(train: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    is_blend = hasattr(train, "datasets")  # megatron-core makes none of a single set
    for name in _BLEND if is_blend else ():
        yield name, getattr(train, name)
    for i, dataset in enumerate(train.datasets if is_blend else (train,)):
        for part in dataset.parts if isinstance(dataset, Series) else (dataset,):
            for name in _SET:
                yield f"{i} {name}", getattr(part, name)


def require_cursor(expected: Mapping[str, Any], got: Mapping[str, Any], *, step: int) -> None:
    """Refuse to go on with other data than the checkpoint was to go on with.

    Raises:
        ArtifactError: Names what differs.
    """
    for key, value in expected.items():
        if value is not None and got.get(key) != value:
            raise ArtifactError(
                f"expected the data after step {step} to go on with {key} {value}, as the checkpoint says, "
                f"got {got.get(key)}; use the versions of megatron-core and numpy that the run began with, "
                "or pass another --out to start anew."
            )
