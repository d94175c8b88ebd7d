"""The n-grams of evaluation texts in sorted arrays, saved and loaded without pickles."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from corpora.evaluation.config import Decontamination
from corpora.evaluation.ngrams import Anchors, Hashes, Places, Slots, find_sorted, ngram_hashes_at
from corpora.folding import Codes
from hanlm.errors import ArtifactError
from hanlm.files import fsync

SEPARATOR: Final = "\n"
"""Between the parts of a whole text; no folded letter."""


class TextKind(IntEnum):
    """How a text is looked for."""

    NGRAMS = 0
    WHOLE = 1


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
        text, *choices = self.wholes[text_id].split(SEPARATOR)
        return text, tuple(choices)

    def save(self, path: Path) -> None:
        """Write a ``.npz`` without pickles; it is seen whole or not at all."""
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
        new = path.with_name(path.name + ".new")
        with new.open("wb") as stream:
            np.savez(stream, **arrays)
        fsync(new)
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**_from_arrays(dict(file)))
        except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
            raise ArtifactError(
                f"expected an index of evaluation texts at {path}, got {error}; build it anew."
            ) from error

    @classmethod
    def load_once(cls, path: Path) -> "EvalIndex":
        """Read an index, once a process."""
        return _load_once(path)


_ARRAYS = ("kinds", "num_letters", "files", "items", "anchors")
_NUMBERS = ("han_letters", "latin_letters", "whole_letters", "min_overlap", "min_letters", "max_ngrams")


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
