"""Validation while training: bits per byte of whole held-out documents, by language and by domain."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed as dist

from hanlm.bits import bits_per_byte
from hanlm.tokens import Tokens, TokenSet
from pretrain.backend import TrainingEngine
from pretrain.data.batches import Batch
from pretrain.parallel import Place

_SCORED, _NOT_SCORED = True, False


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of one document: its tokens, one more than are predicted, and which of them are text."""

    ids: np.ndarray[Any, Any]
    scored: np.ndarray[Any, Any]
    """For each predicted token, whether it counts: bos and eos never do."""
    group: int


def _spread(documents: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return documents in an order whose every beginning lies evenly over all of them.

    Neighbours are alike: the first third of the demo's docstrings took 1.21 bits per byte, all of them 1.42.
    """
    golden = (math.sqrt(5) - 1) / 2  # steps by the golden section fill a circle evenly (Weyl)
    return [documents[i] for i in sorted(range(len(documents)), key=lambda i: (i * golden) % 1)]


class Validation:
    """Scores the same documents at every call.

    Args:
        tokens: The tokens artifacts.
        num_tokens: Budget, shared equally by the validation sets; each gives whole documents from all over it.
        seq_length: Longest window; longer documents are scored window after window, each token once.
        batch_size: Windows at once.
        full_length: Whether to fill every window up to the longest: fp8 takes no length between.
    """

    def __init__(
        self,
        tokens: Sequence[Tokens],
        *,
        num_tokens: int,
        seq_length: int,
        batch_size: int,
        full_length: bool = False,
    ) -> None:
        sets = [(t, s) for t in tokens for s in t.sets if s.split == "valid" and s.num_documents] if num_tokens else []
        self.names = [(s.lang, s.domain) for _, s in sets]
        self.num_bytes = [0] * len(sets)
        self._windows: list[_Window] = []
        self._seq_length, self._batch_size, self._full_length = seq_length, batch_size, full_length
        for group, (artifact, valid) in enumerate(sets):
            self._add(artifact, valid, group, num_tokens // len(sets))
        self._windows.sort(key=lambda w: len(w.ids))  # equal lengths together: less padding

    def __bool__(self) -> bool:
        return bool(self._windows)

    def _add(self, artifact: Tokens, valid: TokenSet, group: int, budget: int) -> None:
        data = valid.open()
        for index, num_bytes in _spread(list(_document_bytes(artifact, valid))):
            ids = np.array(data[index], dtype=np.int64)  # a copy: views die with the memory map
            if (budget := budget - len(ids)) < 0 and self.num_bytes[group]:
                return
            self.num_bytes[group] += num_bytes
            self._windows.extend(_windows(ids, artifact, group, self._seq_length))

    def run(self, engine: TrainingEngine) -> dict[str, float]:
        """Return bits per byte as ``valid/LANG`` and ``valid/LANG/DOMAIN``; call it on every process."""
        place = engine.place
        batches = list(self._batches(place))
        nats = engine.score(batches, len(self.names))
        if place.tensor_rank or not place.is_last_stage:
            nats.zero_()
        if place.world_size > 1:
            dist.all_reduce(nats)
        return self._bits_per_byte(nats.tolist())

    def _bits_per_byte(self, nats: Sequence[float]) -> dict[str, float]:
        totals: dict[str, list[float]] = {}
        for (lang, domain), loss, num_bytes in zip(self.names, nats, self.num_bytes, strict=True):
            for name in (f"valid/{lang}", f"valid/{lang}/{domain}"):
                pair = totals.setdefault(name, [0.0, 0.0])
                pair[0] += loss
                pair[1] += num_bytes
        return {name: bits_per_byte(loss, int(size)) for name, (loss, size) in totals.items() if size}

    def _batches(self, place: Place) -> Iterator[tuple[Batch, torch.Tensor]]:
        """Give this data-parallel rank's batches; the stages of a pipeline exchange full length only."""
        chunks = [self._windows[i : i + self._batch_size] for i in range(0, len(self._windows), self._batch_size)]
        for chunk in chunks[place.data_rank :: place.data_size]:
            length = max(len(w.ids) - 1 for w in chunk)
            rows = len(chunk)
            if place.layout.pipeline > 1 or self._full_length:
                length, rows = self._seq_length, self._batch_size
            elif place.layout.sequence_parallel:
                length = -(-length // place.layout.tensor) * place.layout.tensor
            yield _pad(chunk, rows, length, place)


def _pad(chunk: Sequence[_Window], rows: int, length: int, place: Place) -> tuple[Batch, torch.Tensor]:
    ids_BT = torch.zeros((rows, length + 1), dtype=torch.long)
    group_BT = torch.full((rows, length), -1)
    for row, window in enumerate(chunk):
        ids_BT[row, : len(window.ids)] = torch.from_numpy(window.ids)
        scored = torch.from_numpy(window.scored)
        group_BT[row, : len(scored)] = torch.where(scored, window.group, -1)
    ids_BT = ids_BT.to(place.device)
    return Batch(input_BT=ids_BT[:, :-1], label_BT=ids_BT[:, 1:].contiguous()), group_BT.to(place.device)


def _windows(ids: np.ndarray[Any, Any], artifact: Tokens, group: int, length: int) -> Iterator[_Window]:
    """Cut a document into windows that predict each text token once, from the token before it at least."""
    if artifact.bos_token_id is None:  # families without bos: eos is the context of a first token
        ids = np.concatenate([[artifact.eos_token_id], ids])
    scored = np.full(len(ids) - 1, _SCORED)
    if ids[-1] == artifact.eos_token_id:
        scored[-1] = _NOT_SCORED
    for start in range(0, len(scored), length):
        part = scored[start : start + length]
        if part.any():
            yield _Window(ids[start : start + len(part) + 1], part, group)


def _document_bytes(artifact: Tokens, valid: TokenSet) -> list[tuple[int, int]]:
    """Return index and exact UTF-8 length of each document of a validation set, in order."""
    table = artifact.documents(split="valid").select(["prefix", "index", "num_bytes"]).to_pylist()
    rows = [(r["index"], r["num_bytes"]) for r in table if r["prefix"] == valid.path.name]
    return sorted(rows)
