"""The index of evaluation files, built text by text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corpora.evaluation.config import ANCHOR, Decontamination
from corpora.evaluation.index import SEPARATOR, EvalIndex, GramTable, TextKind
from corpora.evaluation.ngrams import Anchors, Hashes, anchor_hashes, ngram_hashes, num_covered_letters
from corpora.evaluation.texts import Item, read_items
from corpora.folding import Codes, folded_letters, to_text
from hanlm.errors import InputError
from hanlm.text import MIN_HAN_RATIO, is_han


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
        self.wholes[text_id] = SEPARATOR.join(to_text(part) for part in (letters, *choices) if len(part))

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
