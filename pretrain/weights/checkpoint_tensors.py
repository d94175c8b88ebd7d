"""Single tensors out of a distributed checkpoint, and single layers of them, in one process without any group."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader, load
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list


class CheckpointTensors:
    """Reads tensors of a checkpoint, whatever the layout that wrote it, and of its files only what they need."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._entries: Any = FileSystemReader(checkpoint).read_metadata().state_dict_metadata

    def __call__(self, key: str, layer: int | None = None) -> torch.Tensor:
        """Return the whole tensor of a key, or one layer of it: layered ones are stored as [layers, ...]."""
        entry = self._entries[key]
        offsets, sizes = [0] * len(entry.size), list(entry.size)
        if layer is not None:
            offsets[0], sizes[0] = layer, 1
        part = ChunkStorageMetadata(offsets=torch.Size(offsets), sizes=torch.Size(sizes))
        tensor = torch.empty(sizes, dtype=entry.properties.dtype)
        reader = FileSystemReader(self._checkpoint)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
            warnings.filterwarnings("ignore", message="The argument order of load has been changed")
            load({}, storage_reader=reader, planner=_PartPlanner(key, entry, part, tensor), no_dist=True)
        return tensor if layer is None else tensor[0]


class _PartPlanner(DefaultLoadPlanner):
    """Plans the reading of one part of one tensor."""

    def __init__(self, key: str, entry: Any, part: ChunkStorageMetadata, into: torch.Tensor) -> None:
        super().__init__()
        self._key, self._entry, self._part, self._into = key, entry, part, into

    def create_local_plan(self) -> LoadPlan:
        return LoadPlan(create_read_items_for_chunk_list(self._key, self._entry, [self._part]))

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        place = zip(read_item.dest_offsets, read_item.lengths, strict=True)
        return self._into[tuple(slice(start, start + length) for start, length in place)]

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        """Nothing to do: ``resolve_tensor`` gave a view of what is filled."""
