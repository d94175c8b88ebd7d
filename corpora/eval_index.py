"""The n-grams of evaluation texts in sorted arrays, and how they are built, saved and loaded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from corpora.evaluation_texts import Item, read_items
from corpora.folding import Codes, folded_letters, to_text
from corpora.ngrams import (
    ANCHOR,
    Anchors,
    Hashes,
    Places,
    Slots,
    anchor_hashes,
    find_sorted,
    ngram_hashes,
    ngram_hashes_at,
    num_covered_letters,
)
from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.text import MIN_HAN_RATIO, is_han

_SEPARATOR = "\n"  # no folded letter


class TextKind(IntEnum):
    """How a text is looked for."""

    NGRAMS = 0
    WHOLE = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Decontamination:
    """When a document holds an evaluation text.

    GPT-3 looked for 13-grams of words, PaLM asked for 70% of a text's 8-grams of words, GPT-4 for a run of 50
    letters. 13 Han are about 8 words, and 50 Latin letters about 10.
    """

    fields: tuple[str, ...] = ()
    """Fields of the evaluation files to read; empty is all that hold text."""
    han_letters: int = 13
    """n of the n-grams of letters in Chinese evaluation texts."""
    latin_letters: int = 50
    """n in those of other languages."""
    whole_letters: int = 8
    """A text shorter than n is compared whole if it has so many letters; shorter ones are not looked for."""
    min_overlap: float = 0.7
    """The share of an evaluation text's letters from which a document holds it."""
    min_letters: int = 20
    """The fewest letters that a document shares with the text; one with fewer must be there whole. So the name of a
    law is no evidence of the question that names it."""
    max_ngrams: int = 100
    """So many distinct n-grams of one text are too many, whatever their share of it."""

    def __post_init__(self) -> None:
        if not ANCHOR <= self.whole_letters <= min(self.han_letters, self.latin_letters):
            raise ConfigError(
                f"need {ANCHOR} <= whole_letters <= han_letters and latin_letters, "
                f"got {self.whole_letters}, {self.han_letters} and {self.latin_letters}."
            )
        if not 0 < self.min_overlap <= 1 or self.max_ngrams < 1 or self.min_letters < 1:
            raise ConfigError(
                f"need 0 < min_overlap <= 1, min_letters >= 1 and max_ngrams >= 1, "
                f"got {self.min_overlap}, {self.min_letters} and {self.max_ngrams}."
            )


class GramTable:
    """All n-grams of one n: sorted hashes, and for each the texts and positions that have it."""

    def __init__(
        self, n: int, hashes: Hashes, text_ids: npt.NDArray[np.int32], positions: npt.NDArray[np.int32]
    ) -> None:
        """Take one row an n-gram, in any order."""
        order = np.lexsort((positions, text_ids, hashes))
        self.n, self.text_ids, self.positions = n, text_ids[order], positions[order]
        self.hashes, starts = np.unique(hashes[order], return_index=True)
        self.starts = np.append(starts, len(order))

    @property
    def rows(self) -> tuple[Hashes, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """What the table was made of, sorted."""
        return np.repeat(self.hashes, np.diff(self.starts)), self.text_ids, self.positions

    def find(self, letters: Codes, places: Places) -> tuple[Places, Places]:
        """Return where among ``places`` the text has a known n-gram, and the number of each."""
        places, hashes = ngram_hashes_at(letters, places, self.n)
        at, found = find_sorted(self.hashes, hashes)
        return places[at], found

    def rows_of(self, found: Places) -> tuple[Places, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return all rows of known hashes, given by their numbers: which of them, the text, and the position there."""
        counts = self.starts[found + 1] - self.starts[found]
        which = np.repeat(np.arange(len(found)), counts)
        rows = np.arange(len(which)) + (self.starts[found] - (np.cumsum(counts) - counts))[which]
        return which, self.text_ids[rows], self.positions[rows]


@dataclass(frozen=True)
class EvalIndex:
    """Every evaluation text that can be looked for; arrays are by text."""

    config: Decontamination
    tables: tuple[GramTable, ...]
    kinds: npt.NDArray[np.int8]
    num_letters: npt.NDArray[np.int64]
    files: npt.NDArray[np.int32]
    """Number of the file in ``file_names``."""
    items: npt.NDArray[np.int32]
    fields: tuple[str, ...]
    wholes: dict[int, str]
    """Letters of the texts that are compared whole, and of their choices, a line each."""
    file_names: tuple[str, ...]
    num_items: int
    num_unchecked: int
    """Items without a text long enough to be looked for."""
    anchors: Anchors
    """Sorted hashes of the first letters of every n-gram."""

    @cached_property
    def slots(self) -> Slots:
        """The first test of a document; made in each process, since it is larger than the anchors."""
        return Slots(self.anchors)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "slots"}

    def name_of(self, text_id: int) -> tuple[str, int, str]:
        """Return the file, the item's number and the field of a text."""
        return self.file_names[self.files[text_id]], int(self.items[text_id]), self.fields[text_id]

    def whole_text(self, text_id: int) -> tuple[str, tuple[str, ...]]:
        """Return the letters of a text that is compared whole, and those of its choices."""
        text, *choices = self.wholes[text_id].split(_SEPARATOR)
        return text, tuple(choices)

    def save(self, path: Path) -> None:
        """Write a ``.npz`` without pickles."""
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in _ARRAYS}
        arrays |= {"fields": np.array(self.fields), "file_names": np.array(self.file_names)}
        arrays |= {
            "whole_ids": np.array(list(self.wholes)),
            "wholes": np.array(list(self.wholes.values()), dtype=np.str_),
        }
        arrays |= {"counts": np.array([self.num_items, self.num_unchecked])}
        arrays |= {f"config_{name}": np.array(getattr(self.config, name)) for name in _NUMBERS}
        arrays["config_fields"] = np.array(self.config.fields, dtype=np.str_)
        for table in self.tables:
            for name, values in zip(("hashes", "text_ids", "positions"), table.rows, strict=True):
                arrays[f"table_{table.n}_{name}"] = values
        with path.open("wb") as stream:
            np.savez(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**_from_arrays(dict(file)))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ArtifactError(
                f"expected an index of evaluation texts at {path}, got {error}; build it anew."
            ) from error

    @classmethod
    def load_once(cls, path: Path) -> "EvalIndex":
        """Read an index, once a process."""
        return _load_once(path)


_ARRAYS = ("kinds", "num_letters", "files", "items", "anchors")
_NUMBERS = ("han_letters", "latin_letters", "whole_letters", "min_overlap", "min_letters", "max_ngrams")


def build_index(paths: Sequence[Path], config: Decontamination | None = None) -> EvalIndex:
    """Return the index of the evaluation files' texts.

    Raises:
        InputError: If a file is missing or damaged, or there is nothing to look for.
    """
    config = config or Decontamination()
    index = index_items(read_items(paths, config.fields), config)
    if not len(index.kinds):
        raise InputError(
            f"expected texts of {config.whole_letters} letters or more in {', '.join(map(str, paths))}, got none; "
            "name other files or fields."
        )
    return index


def index_items(items: Iterable[Item], config: Decontamination) -> EvalIndex:
    """Return the index of items in the order given."""
    builder = _Builder(config)
    for item in items:
        builder.add(item)
    return builder.index()


@cache
def _load_once(path: Path) -> EvalIndex:
    return EvalIndex.load(path)


def _from_arrays(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    sizes = sorted({int(name.split("_")[1]) for name in arrays if name.startswith("table_")})
    parts = ("hashes", "text_ids", "positions")
    return {
        "config": Decontamination(
            fields=tuple(arrays["config_fields"].tolist()),
            **{name: arrays[f"config_{name}"].item() for name in _NUMBERS},
        ),
        "tables": tuple(GramTable(n, *(arrays[f"table_{n}_{part}"] for part in parts)) for n in sizes),
        **{name: arrays[name] for name in _ARRAYS},
        "fields": tuple(arrays["fields"].tolist()),
        "wholes": dict(zip(arrays["whole_ids"].tolist(), arrays["wholes"].tolist(), strict=True)),
        "file_names": tuple(arrays["file_names"].tolist()),
        "num_items": int(arrays["counts"][0]),
        "num_unchecked": int(arrays["counts"][1]),
    }


type _Grams = tuple[Hashes, int, npt.NDArray[np.int32]]  # hashes, their text, the position of each in it


@dataclass
class _Builder:
    """Gathers texts and their n-grams."""

    config: Decontamination
    grams: dict[int, list[_Grams]] = field(default_factory=dict[int, list[_Grams]])
    """By n."""
    texts: list[tuple[TextKind, int, int, int, str]] = field(default_factory=list[tuple[TextKind, int, int, int, str]])
    wholes: dict[int, str] = field(default_factory=dict[int, str])
    file_numbers: dict[str, int] = field(default_factory=dict[str, int])
    anchors: list[Anchors] = field(default_factory=list[Anchors])
    num_items: int = 0
    num_unchecked: int = 0

    def add(self, item: Item) -> None:
        """Take one item's texts."""
        self.num_items += 1
        num_texts = len(self.texts)
        choices = [folded_letters(choice)[0] for choice in item.choices]
        for name, text in item.prose:
            letters = folded_letters(text)[0]
            n = self._size_of(letters)
            if len(letters) >= n:
                self._add_grams(item, name, [letters], n)
            elif len(letters) >= self.config.whole_letters:
                self._add_whole(item, name, letters, choices)
        long = [letters for letters in choices if len(letters)]
        if len(long) >= 2:
            n = self._size_of(np.concatenate(long))
            long = [letters for letters in long if len(letters) >= n]
            # One choice alone is a sentence that anyone may write; two of one item in one document are no accident.
            if len(long) >= 2:
                self._add_grams(item, "choices", long, n)
        self.num_unchecked += len(self.texts) == num_texts

    def index(self) -> EvalIndex:
        """Return what was gathered."""
        kinds, lengths, files, items, names = zip(*self.texts, strict=True) if self.texts else ((), (), (), (), ())
        return EvalIndex(
            config=self.config,
            tables=tuple(self._table(n) for n in sorted(self.grams)),
            kinds=np.array(kinds, dtype=np.int8),
            num_letters=np.array(lengths, dtype=np.int64),
            files=np.array(files, dtype=np.int32),
            items=np.array(items, dtype=np.int32),
            fields=tuple(names),
            wholes=self.wholes,
            file_names=tuple(self.file_numbers),
            num_items=self.num_items,
            num_unchecked=self.num_unchecked,
            anchors=np.unique(np.concatenate(self.anchors)) if self.anchors else np.zeros(0, dtype=np.uint32),
        )

    def _add_grams(self, item: Item, name: str, segments: list[Codes], n: int) -> None:
        runs, starts, position = [], [], 0
        for letters in segments:
            runs.append(ngram_hashes(letters, n))
            starts.append(np.arange(position, position + len(runs[-1]), dtype=np.int32))
            self.anchors.append(anchor_hashes(letters)[: len(runs[-1])])
            position += len(letters)
        # What a text says twice counts once, or the phrase that all its choices share would be most of it.
        hashes, first = np.unique(np.concatenate(runs), return_index=True)
        positions = np.concatenate(starts)[first]
        num_letters = num_covered_letters(np.sort(positions).astype(np.int64), n)
        self.grams.setdefault(n, []).append(
            (hashes, self._add_text(TextKind.NGRAMS, num_letters, item, name), positions)
        )

    def _add_whole(self, item: Item, name: str, letters: Codes, choices: list[Codes]) -> None:
        text_id = self._add_text(TextKind.WHOLE, len(letters), item, name)
        n = self.config.whole_letters
        start = np.zeros(1, dtype=np.int32)
        self.grams.setdefault(n, []).append((ngram_hashes(letters[:n], n), text_id, start))
        self.anchors.append(anchor_hashes(letters[:ANCHOR]))
        self.wholes[text_id] = _SEPARATOR.join(to_text(part) for part in (letters, *choices) if len(part))

    def _add_text(self, kind: TextKind, num_letters: int, item: Item, name: str) -> int:
        file = self.file_numbers.setdefault(item.file, len(self.file_numbers))
        self.texts.append((kind, num_letters, file, item.number, name))
        return len(self.texts) - 1

    def _size_of(self, letters: Codes) -> int:
        """Return n: the one for Chinese where so much of the text is Han as makes a document Chinese."""
        num_han = sum(map(is_han, to_text(letters)))
        return self.config.han_letters if num_han >= MIN_HAN_RATIO * len(letters) else self.config.latin_letters

    def _table(self, n: int) -> GramTable:
        runs = self.grams[n]
        text_ids = np.concatenate([np.full(len(run), text_id, dtype=np.int32) for run, text_id, _ in runs])
        return GramTable(
            n, np.concatenate([run for run, _, _ in runs]), text_ids, np.concatenate([at for _, _, at in runs])
        )
