"""Parallel text: pairs of sentences or paragraphs and their translations, rendered as bilingual documents.

Training on such documents before plain Chinese is the first phase of Linly's curriculum (CVI-SZU/Linly).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

import xxhash

from hanlm.errors import ConfigError
from hanlm.json_lines import numbered_json_lines
from hanlm.quarantine import Quarantine
from hanlm.records import Document
from hanlm.streams import iter_lines, open_stream

type Template = Literal["lines", "paragraphs", "labelled"]

_TEMPLATES: tuple[Template, ...] = get_args(Template.__value__)
_TSV_SUFFIXES = (".tsv", ".tsv.gz", ".tsv.zst")
_NAMES = {
    "zh": ("中文", "Chinese"),
    "en": ("英文", "English"),
    "ja": ("日文", "Japanese"),
    "ko": ("韩文", "Korean"),
    "fr": ("法文", "French"),
    "de": ("德文", "German"),
    "ru": ("俄文", "Russian"),
    "es": ("西班牙文", "Spanish"),
}
"""Of each language its name in Chinese and in English."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParallelConfig:
    """How parallel text is read and rendered."""

    languages: tuple[str, str] = ("zh", "en")
    """The languages of the two sides; the documents' language is both, such as `zh-en`."""
    fields: tuple[str, str] | None = None
    """Fields of the two sides in JSON lines; by default named as the languages, or `src` and `tgt`."""
    columns: tuple[int, int] = (0, 1)
    """Columns of the two sides in a .tsv, from 0."""
    templates: tuple[Template, ...] = _TEMPLATES
    """How a document may look: `lines` puts each translation under its original, `paragraphs` one language after the
    other, `labelled` says before each side which language it is. Which one a document gets, and which language comes
    first, hangs on a hash of its content."""
    max_chars: int = 2_000
    """Pairs that follow one another are packed into documents of up to so many characters, both sides together."""
    domain: str = "parallel"
    """Domain of the documents."""

    def __post_init__(self) -> None:
        first, second = self.languages
        if not first or not second or first == second:
            raise ConfigError(f"parallel text needs two different languages, got {list(self.languages)}.")
        if self.columns[0] == self.columns[1] or min(self.columns) < 0:
            raise ConfigError(f"parallel text needs two different columns from 0, got {list(self.columns)}.")
        if not self.templates or set(self.templates) - set(_TEMPLATES):
            raise ConfigError(f"parallel text knows the templates {', '.join(_TEMPLATES)}; got {list(self.templates)}.")
        if self.max_chars < 1:
            raise ConfigError(f"parallel text needs max_chars of at least 1, got {self.max_chars}.")

    @property
    def lang(self) -> str:
        """The documents' language."""
        return "-".join(self.languages)


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and its translation, in the order of the configuration's languages."""

    first: str
    second: str
    id: str = ""
    source: str = ""
    license: str = ""


def is_bilingual(lang: str) -> bool:
    """Say whether a language tag names two languages, as ``zh-en`` does and ``zh-Hant`` and ``zh-TW`` do not.

    Rules that ask for a share of Han have nothing to say of such documents.
    """
    return sum(part in _NAMES for part in lang.split("-")) == 2


def parallel_documents(path: Path, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Document]:
    """Yield the documents of one file of pairs: JSON lines or ``.tsv``, each also ``.gz`` and ``.zst``.

    Raises:
        InputError: If the file cannot be read to its end.
    """
    for pairs in pack(read_pairs(path, quarantine, config), config.max_chars):
        yield render(pairs, config)


def read_pairs(path: Path, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Pair]:
    """Yield the pairs of a file; what is none goes to the quarantine with its reason, its neighbours are kept."""
    is_tsv = path.name.lower().endswith(_TSV_SUFFIXES)
    yield from (_read_tsv if is_tsv else _read_json)(path, quarantine, config)


def pack(pairs: Iterable[Pair], max_chars: int) -> Iterator[list[Pair]]:
    """Yield pairs in order, as many together as ``max_chars`` allow; a longer pair stands alone."""
    kept: list[Pair] = []
    num_chars = 0
    for pair in pairs:
        length = len(pair.first) + len(pair.second)
        if kept and num_chars + length > max_chars:
            yield kept
            kept, num_chars = [], 0
        kept.append(pair)
        num_chars += length
    if kept:
        yield kept


def rng_by_hash(pairs: Sequence[Pair]) -> Random:
    """Return a source of randomness that the content alone decides, whatever file it is in and who reads it."""
    digest = xxhash.xxh3_64()
    for pair in pairs:
        digest.update(f"{pair.first}\0{pair.second}\0".encode())
    return Random(digest.intdigest())


def render(
    pairs: Sequence[Pair], config: ParallelConfig, rng: Callable[[Sequence[Pair]], Random] = rng_by_hash
) -> Document:
    """Return pairs as one document; ``rng`` draws which language comes first, and the template."""
    draw = rng(pairs)
    languages = config.languages
    sides = [(pair.first, pair.second) for pair in pairs]
    if draw.random() < 0.5:
        languages = languages[::-1]
        sides = [side[::-1] for side in sides]
    template = config.templates[draw.randrange(len(config.templates))]
    first = pairs[0]
    return Document(
        id=first.id,
        text=_RENDERERS[template](sides, languages),
        domain=config.domain,
        lang=config.lang,
        source=first.source,
        license=first.license,
    )


def _lines(sides: Sequence[tuple[str, ...]], _languages: tuple[str, ...]) -> str:
    return "\n".join(text for side in sides for text in side)


def _paragraphs(sides: Sequence[tuple[str, ...]], _languages: tuple[str, ...]) -> str:
    return "\n\n".join("\n".join(texts) for texts in zip(*sides, strict=True))


def _labelled(sides: Sequence[tuple[str, ...]], languages: tuple[str, ...]) -> str:
    """Return the sides with labels in Chinese where Chinese comes first, else in English."""
    in_chinese = languages[0] == "zh"
    names = [_NAMES.get(lang, (lang, lang))[0 if in_chinese else 1] for lang in languages]
    colon = "：" if in_chinese else ": "
    return "\n\n".join(
        "\n".join(f"{name}{colon}{text}" for name, text in zip(names, side, strict=True)) for side in sides
    )


_RENDERERS: Mapping[str, Callable[[Sequence[tuple[str, ...]], tuple[str, ...]], str]] = {
    "lines": _lines,
    "paragraphs": _paragraphs,
    "labelled": _labelled,
}


def _read_json(path: Path, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Pair]:
    stem = path.name.partition(".")[0]
    for number, record in numbered_json_lines(path, quarantine, ()):
        names = config.fields or (config.languages if config.languages[0] in record else ("src", "tgt"))
        texts = [record.get(name) for name in names]
        if (reason := _reason_against(texts, [name in record for name in names])) is not None:
            quarantine.add(reason, path, number, repr(record).encode("utf-8", "replace"))
            continue
        labels = {key: str(record.get(key) or "") for key in ("id", "source", "license")}
        labels["id"] = labels["id"] or f"{stem}:{number}"
        labels["source"] = labels["source"] or path.name
        yield Pair(str(texts[0]).strip(), str(texts[1]).strip(), **labels)


def _read_tsv(path: Path, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Pair]:
    """Yield the pairs of lines with tabs between columns; there is no quoting, as in the files of OPUS and Tatoeba."""
    stem = path.name.partition(".")[0]
    with open_stream(path) as stream:
        for number, line, complete in iter_lines(stream):
            if not line.strip():
                continue
            quarantine.num_seen += 1
            pair = _of_line(line, config.columns) if complete else "too_long"
            if isinstance(pair, str):
                quarantine.add(pair, path, number, line)
            else:
                yield Pair(*pair, id=f"{stem}:{number}", source=path.name)


def _of_line(line: bytes, columns: tuple[int, int]) -> tuple[str, str] | str:
    """Return the two sides of a line, or the reason why there are none."""
    try:
        cells = line.decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return "invalid_utf8"
    texts = [cells[column].strip() if column < len(cells) else None for column in columns]
    reason = _reason_against(texts, [text is not None for text in texts])
    return reason or (str(texts[0]), str(texts[1]))


def _reason_against(texts: Sequence[Any], present: Sequence[bool]) -> str | None:
    if not all(present):
        return "missing_field"
    if any(text is None for text in texts):
        return "null_field"
    if not all(isinstance(text, str) for text in texts):
        return "wrong_type"
    return None if all(text.strip() for text in texts) else "empty_side"
