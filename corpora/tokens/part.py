"""Parts: one slice as token files of its own, finished or not there; whoever makes one makes the same bytes."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

from corpora.tokens.encoding import Encoder, EngineName
from corpora.tokens.slices import Slice, read_slice
from hanlm.errors import InputError
from hanlm.files import fsync, replace_text
from hanlm.token_writer import TokenWriter
from hanlm.tokens import TokenSet

SUMMARY = "part.json"
_CHARS_PER_BATCH = 1_000_000
_DOCUMENTS_PER_BATCH = 2_048
_CHECKED_PER_BATCH = 1
_CHECKED_PER_SET = 2

type _Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all tasks of one run share; goes to the processes that work on them."""

    slices: tuple[Slice, ...]
    """Task i makes part i out of slice i."""
    tokenizer: Path
    """Folder with the tokenizer."""
    engine: EngineName
    """Library that encodes, settled: not ``auto``."""
    parts: Path
    """Folder of the parts: ``OUT.work/parts``."""

    def part(self, task: int) -> Path:
        """Return the folder of a task's part."""
        return self.parts / f"{task:06}"


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part."""

    folder: Path
    datasets: list[dict[str, Any]]
    """As in the manifest of tokens, in the order in which they first came."""
    num_tokens: int
    num_bytes: int
    """UTF-8 bytes of its documents' text."""


def tokenize_shard(task: int, job: Job) -> Part:
    """Make the part of one task, or return it where it is finished; safe to run again at any time and anywhere.

    Raises:
        InputError: If the slice cannot be read, or the engine and transformers disagree.
    """
    if (done := finished_part(job.part(task))) is not None:
        return done
    encoder = _encoder(job.tokenizer, job.engine)
    folder = job.part(task).with_name(f"{task:06}.{os.getpid()}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write(job.slices[task], encoder, folder)
    return _finish(folder, job.part(task))


def finished_part(folder: Path) -> Part | None:
    """Return a part that is whole: its files have the checksums that its summary names."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if all(_checksum(folder / name) == value for name, value in summary["files"].items()):
            return _part(folder, summary["datasets"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _part(folder: Path, datasets: list[dict[str, Any]]) -> Part:
    num_tokens, num_bytes = (sum(entry[key] for entry in datasets) for key in ("num_tokens", "num_bytes"))
    return Part(folder=folder, datasets=datasets, num_tokens=num_tokens, num_bytes=num_bytes)


@cache
def _encoder(tokenizer: Path, engine: EngineName) -> Encoder:
    """Return this process's encoder: loading one takes a second."""
    return Encoder(tokenizer, engine=engine)


def _write(part: Slice, encoder: Encoder, folder: Path) -> None:
    samples: dict[tuple[str, str], list[_Record]] = {}
    writer = TokenWriter(
        folder=folder,
        vocab_size=encoder.vocab_size,
        bos_token_id=encoder.bos_token_id,
        eos_token_id=encoder.eos_token_id,
        tokenizer_hash=encoder.tokenizer_hash,
        may_be_empty=True,
    )
    with writer:
        for batch in _batches(read_slice(part)):
            _write_batch(batch, part.split, encoder, writer)
            for record in batch:
                kept = samples.setdefault((record["domain"], record["lang"]), [])
                if len(kept) < _CHECKED_PER_SET:
                    kept.append(record)
    datasets = writer.manifest_keys()["datasets"]
    _verify(folder, datasets, samples, encoder)
    replace_text(folder / SUMMARY, json.dumps({"datasets": datasets, "files": _checksums(folder)}))


def _write_batch(batch: Sequence[_Record], split: str, encoder: Encoder, writer: TokenWriter) -> None:
    texts = [record["text"] for record in batch]
    _require_agreement(texts[:_CHECKED_PER_BATCH], encoder)
    for record, ids in zip(batch, encoder.encode(texts), strict=True):
        text = record["text"]
        writer.add(
            ids,
            id=record["id"],
            domain=record["domain"],
            lang=record["lang"],
            split=split,
            num_bytes=len(text.encode("utf-8")),
            num_chars=len(text),
        )


def _require_agreement(texts: Sequence[str], encoder: Encoder) -> None:
    """Compare a text of every batch with transformers: a silent difference would poison the training."""
    if not encoder.agrees_on(texts):
        raise InputError(
            f"{encoder.engine} and transformers disagree on the text {texts[0][:40]!r}…; pass --engine fast, "
            "and have the tokenizer rebuilt by extend-vocab."
        )


def _batches(records: Iterable[_Record]) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    num_chars = 0
    for record in records:
        batch.append(record)
        num_chars += len(record["text"])
        if num_chars >= _CHARS_PER_BATCH or len(batch) >= _DOCUMENTS_PER_BATCH:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _verify(
    folder: Path,
    datasets: Sequence[dict[str, Any]],
    samples: dict[tuple[str, str], list[_Record]],
    encoder: Encoder,
) -> None:
    """Open what was written as training will, count it, and compare its first documents with transformers."""
    for entry in datasets:
        each = TokenSet(path=folder / entry["prefix"], **{k: v for k, v in entry.items() if k != "prefix"})
        indexed = each.open()
        if int(indexed.sequence_lengths.sum()) != each.num_tokens:
            raise InputError(f"expected {each.num_tokens} tokens in {each.path}; run the command again.")
        for index, record in enumerate(samples[each.domain, each.lang]):
            if indexed[index].tolist() != encoder.reference(record["text"]):
                raise InputError(
                    f"document {record['id']!r} does not read back from {each.path.name} as it was written; "
                    "the disk or the tokenizer is at fault: run the command again."
                )


def _checksums(folder: Path) -> dict[str, str]:
    return {path.name: _checksum(path) for path in sorted(folder.iterdir())}


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _finish(folder: Path, final: Path) -> Part:
    """Give a part its name, once everything in it is on the disk."""
    for path in folder.iterdir():
        fsync(path)
    fsync(folder)
    try:
        folder.rename(final)
    except OSError:  # a process that outlived a killed run was faster: the same bytes
        shutil.rmtree(folder)
    fsync(final.parent)
    part = finished_part(final)
    assert part is not None, final
    return part
