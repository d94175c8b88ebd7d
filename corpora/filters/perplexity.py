"""A model of good text: interpolated Kneser-Ney on triples of characters; its score is minus the bits a character."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from corpora.filters.score_file import read_score_file, write_score_file
from corpora.filters.score_kernels import fill_table, sum_bits
from corpora.filters.score_sample import split_sample, visible_points

type Keys = npt.NDArray[np.uint64]
type Floats = npt.NDArray[np.float64]

_BITS = np.uint64(21)


@dataclass(frozen=True)
class PerplexityModel:
    """Gives a text minus its bits per visible character: the nearer to 0, the more it reads like the good sample."""

    kind: ClassVar[str] = "perplexity"

    alphabet: npt.NDArray[np.uint32]
    """Code points that the sample holds more than once, in ascending order; numbers count from 1, 0 is any other."""
    singles: Floats
    """See ``score_kernels.sum_bits``."""
    keys: Keys
    """See ``score_kernels.sum_bits``."""
    values: Floats
    """See ``score_kernels.sum_bits``."""
    figures: Mapping[str, float]
    """What was measured on held-out texts: ``bits_per_char``, numbers of documents."""
    held_out_scores: tuple[float, ...] = ()
    """Scores of the good documents that were held out, in ascending order."""

    def score(self, text: str) -> float:
        """Return minus the bits per character; minus infinity for a text without visible characters."""
        points = visible_points(text)
        if not len(points):
            return -np.inf
        return -self.bits(points) / len(points)

    def bits(self, points: npt.NDArray[np.uint32]) -> float:
        """Return the code length of a text that starts where the points start."""
        return sum_bits(self._numbers[points], self.singles, self.keys, self.values, self._table)

    def save(self, path: Path) -> None:
        """Write the model as a safetensors file, the numbers in its header."""
        tensors = {"alphabet": self.alphabet, "singles": self.singles, "keys": self.keys, "values": self.values}
        header = {"figures": dict(self.figures), "held_out_scores": list(self.held_out_scores)}
        write_score_file(path, self.kind, tensors, header)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or another kind of model.
        """
        tensors, header = read_score_file(path, cls.kind)
        return cls(**tensors, figures=header["figures"], held_out_scores=tuple(header["held_out_scores"]))

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int32]:
        return _numbering(self.alphabet)

    @cached_property
    def _table(self) -> npt.NDArray[np.int32]:
        table = np.empty(1 << (2 * len(self.keys)).bit_length(), np.int32)
        fill_table(self.keys, table)
        return table


def train_perplexity(good: Iterable[str], seed: int = 0) -> PerplexityModel:
    """Count the good texts; a fifth is held out to say how many bits good text takes.

    Interpolated Kneser-Ney with one discount an order, n1 / (n1 + 2 n2) (Kneser and Ney 1995; Chen and Goodman 1999,
    section 2.7). Characters seen once stand for those never seen.

    Raises:
        InputError: If there are too few texts.
    """
    learn, check = split_sample(good, "good", seed)
    model = _count([visible_points(text) for text in learn])
    held_out = [visible_points(text) for text in check]
    bits = [model.bits(points) for points in held_out]
    figures = {
        "bits_per_char": sum(bits) / sum(map(len, held_out)),
        "num_good": len(learn) + len(check),
        "num_held_out": len(check),
    }
    scores = sorted(-total / len(points) for total, points in zip(bits, held_out, strict=True))
    return replace(model, figures=figures, held_out_scores=tuple(scores))


def _count(texts: Sequence[npt.NDArray[np.uint32]]) -> PerplexityModel:
    points, counts = np.unique(np.concatenate(texts), return_counts=True)
    alphabet = points[counts > 1]
    start = len(alphabet) + 1
    numbers = _numbering(alphabet)
    triples = _Order.of(*np.unique(_triples([numbers[text] for text in texts], start), return_counts=True))
    pairs = _Order.of(*_continuations(triples.keys, 2))
    characters = _Order.of(*_continuations(pairs.keys, 1))

    singles = np.zeros((start + 1, 2))
    singles[:start, 0] = characters.left[0] / start
    singles[(characters.keys - np.uint64(1)).astype(np.int64), 0] += characters.shares
    singles[:, 1] = pairs.left_after(np.arange(1, start + 2, dtype=np.uint64))
    # That two starts stand before each text is known and costs nothing; what is left after them must be.
    two_starts = np.array([np.uint64(start + 1) << _BITS | np.uint64(start + 1)])
    pair_keys = np.concatenate([pairs.keys, two_starts])
    values = np.zeros((len(pair_keys) + len(triples.keys), 2))
    values[: len(pairs.keys), 0] = pairs.shares
    values[: len(pair_keys), 1] = triples.left_after(pair_keys)
    values[len(pair_keys) :, 0] = triples.shares
    return PerplexityModel(alphabet, singles, np.concatenate([pair_keys, triples.keys]), values, {})


@dataclass(frozen=True, slots=True)
class _Order:
    """The n-grams of one length after discounting."""

    keys: Keys
    """In ascending order."""
    shares: Floats
    """Discounted share of each n-gram's last character after the others."""
    contexts: Keys
    """The others, in ascending order."""
    left: Floats
    """What each context leaves to the lower order."""

    @classmethod
    def of(cls, keys: Keys, counts: npt.NDArray[np.int64]) -> Self:
        num_once, num_twice = int((counts == 1).sum()), int((counts == 2).sum())
        discount = num_once / (num_once + 2 * num_twice) if num_once else 0.5
        contexts, places = np.unique(keys >> _BITS, return_inverse=True)
        totals = np.bincount(places, weights=counts)
        return cls(keys, (counts - discount) / totals[places], contexts, discount * np.bincount(places) / totals)

    def left_after(self, contexts: Keys) -> Floats:
        """Return what is left after each of these contexts: all where it never was one."""
        places = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        return np.where(self.contexts[places] == contexts, self.left[places], 1.0)


def _numbering(alphabet: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    numbers = np.zeros(0x110000, np.int32)
    numbers[alphabet] = np.arange(1, len(alphabet) + 1)
    return numbers


def _triples(texts: Sequence[npt.NDArray[np.int32]], start: int) -> Keys:
    """Return the key of the triple that ends at each character; two starts stand before each text."""
    keys: list[Keys] = []
    for text in texts:
        padded = np.concatenate([np.full(2, start), text]).astype(np.uint64) + np.uint64(1)
        keys.append((padded[:-2] << _BITS | padded[1:-1]) << _BITS | padded[2:])
    return np.concatenate(keys)


def _continuations(keys: Keys, length: int) -> tuple[Keys, npt.NDArray[np.int64]]:
    """Return the n-grams' last ``length`` characters, and after how many different ones each occurs."""
    shorter, counts = np.unique(keys & np.uint64((1 << 21 * length) - 1), return_counts=True)
    return shorter, counts
