"""Documents of corpora, encoded in batches and written as token files; what was written is read back."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from corpora.encoding import Encoder
from hanlm.artifact import Artifact
from hanlm.errors import InputError, Interrupted
from hanlm.json_lines import read_json_lines
from hanlm.log import progress
from hanlm.quarantine import Quarantine
from hanlm.signals import stop_on_signal
from hanlm.tokens import TokenSet, TokenWriter

_CHARS_PER_BATCH = 2_000_000
_DOCUMENTS_PER_BATCH = 2_048
_CHECKED_PER_BATCH = 2
_CHECKED_PER_SET = 8

type _Record = tuple[str, dict[str, Any]]  # split, record of the corpus


def write_tokens(corpora: Sequence[Artifact], encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Write every document of the corpora as token files into ``folder``; return the manifest's keys.

    Raises:
        InputError: If there is no document, or what was written does not read back.
        Interrupted: If a signal asked to stop.
    """
    total = sum(corpus.manifest["counts"]["bytes_kept"] for corpus in corpora) / 1e6
    num_tokens = 0
    samples: dict[tuple[str, str, str], list[_Record]] = {}
    with (
        stop_on_signal() as stop,
        progress(total, "corpus tokenize: MB") as bar,
        TokenWriter(
            folder=folder,
            vocab_size=encoder.vocab_size,
            bos_token_id=encoder.bos_token_id,
            eos_token_id=encoder.eos_token_id,
            tokenizer_hash=encoder.tokenizer_hash,
        ) as writer,
    ):
        for batch in _batches(corpora):
            if stop.requested:
                raise Interrupted("stopped; nothing was published: run the same command again.")
            written = _write_batch(batch, encoder, writer)
            num_tokens += written["tokens"]
            for split, record in batch:
                kept = samples.setdefault((split, record["domain"], record["lang"]), [])
                if len(kept) < _CHECKED_PER_SET:
                    kept.append((split, record))
            bar.advance(written["bytes"] / 1e6, f"{num_tokens / 1e6:.1f} M tokens")
    keys = writer.manifest_keys()
    _verify(folder, keys["datasets"], samples, encoder, num_tokens)
    return keys


def _write_batch(batch: Sequence[_Record], encoder: Encoder, writer: TokenWriter) -> Counter[str]:
    texts = [record["text"] for _, record in batch]
    _require_agreement(texts[:_CHECKED_PER_BATCH], encoder)
    written: Counter[str] = Counter()
    for (split, record), ids in zip(batch, encoder.encode(texts), strict=True):
        num_bytes = len(record["text"].encode("utf-8"))
        writer.add(
            ids,
            id=record["id"],
            domain=record["domain"],
            lang=record["lang"],
            split=split,
            num_bytes=num_bytes,
            num_chars=len(record["text"]),
        )
        written["tokens"] += len(ids)
        written["bytes"] += num_bytes
    return written


def _require_agreement(texts: Sequence[str], encoder: Encoder) -> None:
    """Compare a few texts of every batch with transformers: a silent difference would poison the training."""
    if not encoder.agrees_on(texts):
        raise InputError(
            f"{encoder.engine} and transformers disagree on the text {texts[0][:40]!r}…; pass --engine fast, "
            "and have the tokenizer rebuilt by extend-vocab."
        )


def _batches(corpora: Sequence[Artifact]) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    num_chars = 0
    for item in _records(corpora):
        batch.append(item)
        num_chars += len(item[1]["text"])
        if num_chars >= _CHARS_PER_BATCH or len(batch) >= _DOCUMENTS_PER_BATCH:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _records(corpora: Sequence[Artifact]) -> Iterator[_Record]:
    quarantine = Quarantine()
    for corpus in corpora:
        for split in ("train", "valid"):
            for name in sorted(corpus.manifest["files"]):
                if name.startswith(f"{split}-"):
                    for record in read_json_lines(corpus.path / name, quarantine, ("text", "id", "domain")):
                        yield split, record
    quarantine.check(max_fraction=0.0)  # HanLM wrote these lines itself: not one may be bad


def _verify(
    folder: Path,
    datasets: Sequence[dict[str, Any]],
    samples: dict[tuple[str, str, str], list[_Record]],
    encoder: Encoder,
    num_tokens: int,
) -> None:
    """Open what was written as training will, count it, and compare its first documents with transformers."""
    counted = 0
    for entry in datasets:
        each = TokenSet(path=folder / entry["prefix"], **{k: v for k, v in entry.items() if k != "prefix"})
        indexed = each.open()
        counted += int(indexed.sequence_lengths.sum())
        for index, (_, record) in enumerate(samples[each.split, each.domain, each.lang]):
            if indexed[index].tolist() != encoder.reference(record["text"]):
                raise InputError(
                    f"document {record['id']!r} does not read back from {each.path.name} as it was written; "
                    "the disk or the tokenizer is at fault: run the command again."
                )
    if counted != num_tokens:
        raise InputError(f"expected {num_tokens} tokens on disk, got {counted}; run the command again.")
