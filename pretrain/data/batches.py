"""Training batches: Megatron's blended data sets over tokens artifacts, in an order no layout changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hanlm.megatron import megatron_import
from hanlm.tokens import TokenSet
from pretrain.data.cursor import index_hash, require_cursor
from pretrain.parallel import Place
from pretrain.watching.replay import Raise, Reblended, cut_round, raised_shares

_MORE_SEEDS = 1_000_003
"""Lies between the seed of a round and that of what is drawn when more of one of its sets is asked for."""


@dataclass(frozen=True, slots=True)
class _SpecialIds:
    """What ``GPTDataset`` asks of a tokenizer. No id is padding: padding would drop real targets."""

    eod: int
    pad: int = -1
    vocab_size: int | None = None
    unique_identifiers: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One microbatch; B sequences of T tokens."""

    input_BT: torch.Tensor  # noqa: N815
    label_BT: torch.Tensor  # noqa: N815
    mask_B1TT: torch.Tensor | None = None  # noqa: N815
    """Which tokens (last axis) each token attends to; None for all before it."""


class TrainingData:
    """Gives the microbatches of any step, the same samples for a step whatever the layout.

    Sample i of a round is fixed by the seed alone; step s of it takes samples s * B to (s + 1) * B - 1, and the
    data-parallel ranks share them out. A round has sets and shares of its own and covers a number of steps; a run
    that lasts longer repeats the last one with the next seed. A round ends with a step, because building the next
    one is a barrier for all ranks.

    Args:
        rounds: For each round its training sets with their shares, and its steps.
        isolate_documents: Whether the documents of a sequence are kept from attending to each other.
    """

    def __init__(
        self,
        rounds: Sequence[tuple[Mapping[TokenSet, float], int]],
        place: Place,
        *,
        seq_length: int,
        global_batch_size: int,
        micro_batch_size: int,
        eos_token_id: int,
        seed: int,
        cache: Path,
        isolate_documents: bool = False,
    ) -> None:
        self._isolate = isolate_documents
        self._rounds = [(shares, steps) for shares, steps in rounds if steps]
        self._place, self._cache = place, cache
        self._seq_length, self._eos, self._seed = seq_length, eos_token_id, seed
        self._global, self._micro = global_batch_size, micro_batch_size
        self._round: tuple[int, Any] = (-1, None)
        self._index_hash = ""
        self._raises: Sequence[Raise] = ()

    def step(self, step: int) -> list[Batch]:
        """Return this process's microbatches of one step."""
        train, first = self.locate(step)
        mine = self._global // self._place.data_size
        first += self._place.data_rank * mine
        samples = [train[i] for i in range(first, first + mine)]
        batches = [_stack(samples[i : i + self._micro], self._place) for i in range(0, mine, self._micro)]
        return [self._isolated(batch) for batch in batches] if self._isolate else batches

    def locate(self, step: int) -> tuple[Any, int]:
        """Return the data set that a step draws from, and the number of its first sample there, over all ranks."""
        number, offset = self._locate(step)
        self._enter(number)
        return self._round[1], offset * self._global

    def shares(self, step: int) -> dict[TokenSet, float]:
        """Return the share of each set at a step, in the order of ``SampleParts.set_number``."""
        shares, _ = self._rounds[min(self._locate(step)[0], len(self._rounds) - 1)]
        return raised_shares(shares, [r for r in self._raises if r.step <= step])

    def all_sets(self) -> list[TokenSet]:
        """Return every set that some round draws from."""
        return list(dict.fromkeys(each for shares, _ in self._rounds for each in shares))

    def raise_shares(self, raises: Sequence[Raise]) -> None:
        """Draw by these decisions, all that were ever taken; call it on every rank before the same step."""
        self._raises = tuple(raises)
        self._round = -1, None

    def _isolated(self, batch: Batch) -> Batch:
        return replace(batch, mask_B1TT=document_mask(batch.input_BT, self._eos))

    def cursor(self, step: int) -> dict[str, Any]:
        """Return where a step begins: its first sample, in the run and in its round, and that round's seed and hash.

        The hash is None where the round has not begun yet.
        """
        number, offset = self._locate(step)
        return {
            "next_sample": step * self._global,
            "round": number,
            "round_sample": offset * self._global,
            "seed": self._seed + number,
            "index_sha256": self._index_hash if self._round[0] == number else None,
        }

    def require(self, cursor: Mapping[str, Any], step: int) -> None:
        """Refuse a checkpoint that would have gone on with other samples; call it on every process.

        Raises:
            ArtifactError: Names what differs.
        """
        self._enter(self._locate(step)[0])
        require_cursor(cursor, self.cursor(step), step=step)

    def _enter(self, number: int) -> None:
        if self._round[0] != number:
            self._round = number, self._build(number)
            self._index_hash = index_hash(self._round[1], self._place)

    def _locate(self, step: int) -> tuple[int, int]:
        """Return the number of the round that holds a step, and the steps of it that come before."""
        for number, (_, steps) in enumerate(self._rounds):
            if step < steps:
                return number, step
            step -= steps
        more, offset = divmod(step, self._rounds[-1][1])
        return len(self._rounds) + more, offset

    def _build(self, number: int) -> Any:
        shares, steps = self._rounds[min(number, len(self._rounds) - 1)]
        parts = cut_round(self._first_step(number), steps, self._raises)
        seed = self._seed + number
        weights = [raised_shares(shares, self._raises[:num_raises]) for _, num_raises in parts]
        train = self._draw(weights[0], steps * self._global, seed)
        if len(parts) == 1:
            return train
        sizes = [num_steps * self._global for num_steps, _ in parts]
        return Reblended(
            train,
            [(size, list(each.values())) for size, each in zip(sizes, weights, strict=True)],
            lambda at, size: self._draw({list(shares)[at]: 1.0}, size, seed + _MORE_SEEDS),
        )

    def _first_step(self, number: int) -> int:
        """Return the steps before a round."""
        known = [steps for _, steps in self._rounds]
        return sum(known[:number]) + max(0, number - len(known)) * known[-1]

    def _draw(self, shares: Mapping[TokenSet, float], num_samples: int, seed: int) -> Any:
        """Return Megatron's data set of so many samples, its order decided by the seed."""
        with megatron_import():
            from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
            from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
        config = GPTDatasetConfig(
            random_seed=seed,
            sequence_length=self._seq_length,
            blend_per_split=[([str(s.path) for s in shares], list(shares.values())), None, None],
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
            path_to_cache=str(self._cache),
            tokenizer=_SpecialIds(self._eos),  # pyright: ignore[reportArgumentType]
        )
        builder = BlendedMegatronDatasetBuilder(GPTDataset, [num_samples, 0, 0], lambda: True, config)
        train: Any = builder.build()[0]
        assert train is not None
        return train


def document_mask(input_BT: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """Return which tokens each token may attend to, [B, 1, T, T]: those before it in its own document, and itself.

    A document ends with its eos. Positions need no reset: rotary embeddings see only how far apart two tokens are.
    """
    ends_BT = (input_BT == eos_token_id).cumsum(dim=1)
    document_BT = ends_BT - (input_BT == eos_token_id).long()
    same_BTT = document_BT[:, :, None] == document_BT[:, None, :]
    return same_BTT.tril()[:, None]


def _stack(samples: Sequence[Mapping[str, torch.Tensor]], place: Place) -> Batch:
    return Batch(
        input_BT=torch.stack([s["tokens"] for s in samples]).to(place.device),
        label_BT=torch.stack([s["labels"] for s in samples]).to(place.device),
    )
