"""More of a language from some step on: the shares, and a round of data that goes on where its sets had got to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanlm.text import base_language
from hanlm.tokens import TokenSet


@dataclass(frozen=True, kw_only=True, slots=True)
class Raise:
    """One decision to show more of a language."""

    step: int
    """Steps done when it was taken; it holds for all after them."""
    lang: str
    factor: float
    """What the language's share is multiplied by."""
    max_share: float
    """The share does not rise beyond it."""


def speaks(token_set: TokenSet, lang: str) -> bool:
    """Say whether a set is in a language; ``en`` stands for ``en-GB`` too."""
    return lang in (token_set.lang, base_language(token_set.lang))


def share_of(shares: Mapping[TokenSet, float], lang: str) -> float:
    """Return the share of a language."""
    return sum(share for each, share in shares.items() if speaks(each, lang))


def raised_shares(shares: Mapping[TokenSet, float], raises: Sequence[Raise]) -> dict[TokenSet, float]:
    """Return the shares after some raises: the language's sets grow alike, all others shrink alike.

    A language whose share is already at ``max_share`` or above stays there.
    """
    result = dict(shares)
    for each in raises:
        before = share_of(result, each.lang)
        after = max(before, min(each.max_share, before * each.factor))
        if 0 < before < 1:
            result = {
                s: share * (after / before if speaks(s, each.lang) else (1 - after) / (1 - before))
                for s, share in result.items()
            }
    return result


def cut_round(first_step: int, num_steps: int, raises: Sequence[Raise]) -> list[tuple[int, int]]:
    """Return the parts of a round between raises: the steps of each, and how many raises hold in it."""
    before = sum(r.step <= first_step for r in raises)
    inside = [r.step for r in raises if first_step < r.step < first_step + num_steps]
    parts: list[tuple[int, int]] = []
    at = first_step
    for end in [*inside, first_step + num_steps]:
        if end > at:
            parts.append((end - at, before))
        at, before = end, before + 1
    return parts


class Reblended:
    """A round whose shares change on the way: every set goes on at the sample it had got to.

    The round is first blended as if nothing would change, so that its beginning is what it was before anyone knew
    better. A new round instead would shuffle all sets anew: half-way through a single pass, half of what comes
    would have been seen and half of what is left would never be.

    Args:
        first: Megatron's ``BlendedDataset`` of the whole round by the shares that it began with.
        parts: Samples of each part, and the weight of each set in it; the first part's weights are not looked at.
        more: Builds further samples of a set, in another order: (number of the set, samples wanted).
    """

    def __init__(
        self, first: Any, parts: Sequence[tuple[int, Sequence[float]]], more: Callable[[int, int], Any]
    ) -> None:
        from megatron.core.datasets import helpers

        build: Any = vars(helpers)["build_blending_indices"]  # compiled, without types
        begun = parts[0][0]
        sets, samples = [np.array(first.dataset_index[:begun])], [np.array(first.dataset_sample_index[:begun])]
        used = np.bincount(sets[0], minlength=len(first.datasets))
        for size, weights in parts[1:]:
            set_N, sample_N = np.zeros(size, dtype=np.int16), np.zeros(size, dtype=np.int64)
            build(set_N, sample_N, list(weights), len(weights), size, False)
            sets.append(set_N)
            samples.append(sample_N + used[set_N])
            used = used + np.bincount(set_N, minlength=len(weights))
        self.dataset_index: NDArray[np.int16] = np.concatenate(sets)
        self.dataset_sample_index: NDArray[np.int64] = np.concatenate(samples)
        self.datasets: list[Series] = []
        for number, (dataset, num_used) in enumerate(zip(first.datasets, used.tolist(), strict=True)):
            missing = num_used - len(dataset)
            self.datasets.append(Series([dataset, *([more(number, missing)] if missing > 0 else [])]))

    def __len__(self) -> int:
        return len(self.dataset_index)

    def __getitem__(self, i: int) -> Any:
        series, number = self.datasets[self.dataset_index[i]], int(self.dataset_sample_index[i])
        dataset, local = series.find(number)
        return dataset[local]


class Series:
    """Megatron's data sets of one token set, one after another."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts

    def find(self, i: int) -> tuple[Any, int]:
        """Return the data set that holds the i-th sample, and its number there."""
        for part in self.parts[:-1]:
            if i < len(part):
                return part, i
            i -= len(part)
        return self.parts[-1], i
