"""Rows as tokens with labels: rendered by the chat template, loss on the assistant's tokens alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from hanlm.bits import IGNORE
from hanlm.chat import RenderedIds, render_ids
from hanlm.counts import by_reason
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.text import in_valid_split
from sft.formats import KNOWN_FORMATS, Row

_ROWS_A_BATCH = 256  # the fast tokenizer works on a batch in parallel; larger ones gain nothing


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One conversation ready for training."""

    ids: list[int]
    labels: list[int]
    """The id where the assistant speaks (its end token included), else ``IGNORE``."""
    source: int
    """Index of the data path it came from."""


@dataclass(slots=True)
class Encoded:
    """All rows of a run."""

    train: list[EncodedRow] = field(default_factory=list[EncodedRow])
    valid: list[EncodedRow] = field(default_factory=list[EncodedRow])
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Well-formed rows that cannot be learned from, by reason: ``no_target``, ``prompt_too_long``."""
    num_cut: int = 0
    """Rows whose answer was cut at the maximum length (their end token is lost)."""

    def summary(self, quarantine: Quarantine) -> str:
        """Return one line for the user: what became of the rows."""
        return (
            f"rows: {quarantine.num_seen:,} in, {len(self.train):,} to train on, {len(self.valid):,} held out "
            f"({self.num_cut:,} of these cut at --max-length), {by_reason(self.dropped)} dropped, "
            f"{by_reason(quarantine.counts)} quarantined"
        )

    def counts(self, quarantine: Quarantine) -> dict[str, Any]:
        """Return the counts for the manifest."""
        return {
            "rows_in": quarantine.num_seen,
            "rows_train": len(self.train),
            "rows_valid": len(self.valid),
            "rows_cut": self.num_cut,
            "rows_dropped": dict(self.dropped),
            "quarantined": dict(quarantine.counts),
            "target_tokens": sum(label != IGNORE for row in self.train for label in row.labels),
        }


def encode(
    rows: Iterable[Row],
    tokenizer: Any,
    quarantine: Quarantine,
    encoded: Encoded,
    *,
    max_length: int,
    valid_fraction: float,
) -> None:
    """Render, mask, cut and split rows into ``encoded``.

    Rows that spell one of the tokenizer's special tokens, or that the template refuses, go to the quarantine: a
    ``</s>`` in a text would teach the model to stop in the middle.
    """
    specials = tuple(str(token) for token in tokenizer.all_special_tokens)
    for batch in batched(_without_specials(rows, specials, quarantine), _ROWS_A_BATCH):
        for row, rendered in _render(tokenizer, batch, quarantine):
            one = _to_labels(rendered, row.source, max_length)
            if all(label == IGNORE for label in one.labels):
                encoded.dropped["prompt_too_long"] += 1
                continue
            encoded.num_cut += len(rendered.ids) > max_length
            held_out = valid_fraction > 0 and in_valid_split(row.split_key, valid_fraction)
            (encoded.valid if held_out else encoded.train).append(one)


def require_rows(encoded: Encoded, quarantine: Quarantine, max_quarantined: float) -> None:
    """Raise ``InputError`` if too many rows are malformed or none is left to train on."""
    try:
        quarantine.check(max_quarantined)
    except InputError as error:
        if not quarantine.counts["unknown_format"]:
            raise
        raise InputError(f"{error} Known formats: {KNOWN_FORMATS}.") from None
    if not encoded.train:
        raise InputError(
            f"expected rows to train on, got none: of {quarantine.num_seen} rows {len(encoded.valid)} are held out, "
            f"{quarantine.num_quarantined} malformed, and dropped are {dict(encoded.dropped) or 'none'}; check the "
            "files, --max-length and --valid-fraction."
        )


def _without_specials(rows: Iterable[Row], specials: Sequence[str], quarantine: Quarantine) -> Iterator[Row]:
    for row in rows:
        spelled = [token for m in row.messages for token in specials if token in m["content"]]
        if spelled:
            text = "\n".join(m["content"] for m in row.messages)
            quarantine.add("special_token_in_text", row.path, row.line, text.encode("utf-8", "surrogatepass"))
        else:
            yield row


def _render(tokenizer: Any, rows: Sequence[Row], quarantine: Quarantine) -> Iterator[tuple[Row, RenderedIds]]:
    try:
        yield from zip(rows, render_ids(tokenizer, [row.messages for row in rows]), strict=True)
    except InputError:
        if len(rows) == 1:
            raw = str(rows[0].messages).encode("utf-8", "surrogatepass")
            quarantine.add("refused_by_template", rows[0].path, rows[0].line, raw)
            return
        for row in rows:  # find which one the template refused; its neighbours are good
            yield from _render(tokenizer, [row], quarantine)


def _to_labels(rendered: RenderedIds, source: int, max_length: int) -> EncodedRow:
    pairs = zip(rendered.ids, rendered.answer_mask, strict=True)
    labels = [token if answered else IGNORE for token, answered in pairs]
    return EncodedRow(rendered.ids[:max_length], labels[:max_length], source)
