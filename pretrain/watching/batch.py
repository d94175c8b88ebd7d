"""What a step's batch cost: the same figures on every process, sample by sample, then by language and domain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed as dist

from hanlm.bits import bits_per_byte
from hanlm.tokens import TokenSet
from pretrain.data.batches import TrainingData
from pretrain.parallel import Place
from pretrain.watching.documents import Documents
from pretrain.watching.samples import SampleParts, sample_parts


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLosses:
    """One step's B samples, over all processes."""

    loss: float
    """Mean negative log-likelihood of all tokens, in nats."""
    nats_B: NDArray[np.float64]  # noqa: N815
    """Each sample's, summed over its text tokens."""
    tokens_B: NDArray[np.float64]  # noqa: N815
    """Text tokens of each sample."""
    bytes_B: NDArray[np.float64]  # noqa: N815
    """UTF-8 bytes that they spell: a document that is cut counts by its mean."""
    sets: Sequence[TokenSet]
    """What each sample is drawn from."""


class BatchWatch:
    """Gathers what every process saw of a step's batch."""

    def __init__(self, data: TrainingData, documents: Documents, place: Place, *, global_batch_size: int) -> None:
        self._data, self._documents, self._place = data, documents, place
        self._size = global_batch_size

    def gather(self, step: int, microbatches: Sequence[torch.Tensor]) -> BatchLosses:
        """Return the losses of a step; call it on every process.

        Args:
            step: Steps done before it.
            microbatches: What the engine gave for each microbatch of this process: [mean loss, then for each of
                its samples nats and number of text tokens]; empty off the last stage of a pipeline.
        """
        place = self._place
        total = torch.zeros(1 + 3 * self._size, dtype=torch.float64, device=place.device)
        if microbatches and place.is_last_stage and place.tensor_rank == 0:
            mine = self._size // place.data_size
            begin = place.data_rank * mine
            total[0] = torch.stack([m[0].float() for m in microbatches]).mean().double() / place.data_size
            nats_2B = torch.cat([m[1:].view(2, -1) for m in microbatches], dim=1)
            rows_3B = total[1:].view(3, self._size)
            rows_3B[:2, begin : begin + mine] = nats_2B
            rows_3B[2, begin : begin + mine] = torch.from_numpy(self._bytes(step, begin, mine)).to(place.device)
        if place.world_size > 1:
            dist.all_reduce(total)
        figures = total.cpu().numpy()
        nats_B, tokens_B, bytes_B = figures[1:].reshape(3, self._size)
        return BatchLosses(
            loss=float(figures[0]), nats_B=nats_B, tokens_B=tokens_B, bytes_B=bytes_B, sets=self._sets(step)
        )

    def parts(self, step: int) -> list[SampleParts]:
        """Return what every sample of a step is made of."""
        train, first = self._data.locate(step)
        return [sample_parts(train, i) for i in range(first, first + self._size)]

    def _bytes(self, step: int, begin: int, count: int) -> NDArray[np.float64]:
        train, first = self._data.locate(step)
        sets = list(self._data.shares(step))
        sizes = np.empty(count)
        for row in range(count):
            parts = sample_parts(train, first + begin + row)
            rates = self._documents.bytes_per_token(sets[parts.set_number])
            sizes[row] = parts.text_labels(has_bos=self._documents.has_bos) @ rates[parts.document_P]
        return sizes

    def _sets(self, step: int) -> list[TokenSet]:
        train, first = self._data.locate(step)
        sets = list(self._data.shares(step))
        if not hasattr(train, "dataset_index"):
            return sets * self._size
        return [sets[number] for number in train.dataset_index[first : first + self._size].tolist()]


class Tally:
    """Sums of what was trained on since the last line of metrics, by language and domain; part of a checkpoint."""

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None) -> None:
        self.sums: dict[str, list[float]] = {name: list(values) for name, values in (sums or {}).items()}

    def add(self, batch: BatchLosses) -> None:
        """Count a batch; samples whose loss is not finite are left out."""
        for token_set, nats, tokens, size in zip(
            batch.sets, batch.nats_B.tolist(), batch.tokens_B.tolist(), batch.bytes_B.tolist(), strict=True
        ):
            if math.isfinite(nats):
                for name in (token_set.lang, f"{token_set.lang}/{token_set.domain}"):
                    sums = self.sums.setdefault(name, [0.0, 0.0, 0.0])
                    for i, value in enumerate((nats, tokens, size)):
                        sums[i] += value

    def take(self) -> dict[str, Any]:
        """Return ``train/LANG[/DOMAIN]`` in bits per byte and ``loss/...`` in nats per text token, and begin anew."""
        taken, self.sums = self.sums, {}
        values: dict[str, Any] = {}
        for name, (nats, tokens, size) in sorted(taken.items()):
            if tokens:
                values[f"loss/{name}"] = nats / tokens
            if size >= 1:
                values[f"train/{name}"] = bits_per_byte(nats, size)
        return values
