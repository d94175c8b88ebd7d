"""Pairs of texts and translations rendered as documents in two languages."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import xxhash

from corpora.sources.parallel import LANGUAGE_NAMES, ParallelConfig
from hanlm.records import Document


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and its translation, in the order of the configuration's languages."""

    first: str
    second: str
    id: str = ""
    source: str = ""
    license: str = ""


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
    names = [LANGUAGE_NAMES.get(lang, (lang, lang))[0 if in_chinese else 1] for lang in languages]
    colon = "：" if in_chinese else ": "
    return "\n\n".join(
        "\n".join(f"{name}{colon}{text}" for name, text in zip(names, side, strict=True)) for side in sides
    )


_RENDERERS: Mapping[str, Callable[[Sequence[tuple[str, ...]], tuple[str, ...]], str]] = {
    "lines": _lines,
    "paragraphs": _paragraphs,
    "labelled": _labelled,
}
