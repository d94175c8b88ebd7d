"""Writing token files: Megatron's ``.bin`` and ``.idx`` through megatron-core's own builder."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hanlm.errors import InputError
from hanlm.megatron import megatron_import

DOCUMENTS = "documents.parquet"
MAX_UINT16_VOCAB = 65_535
_ROWS_PER_GROUP = 50_000
_COLUMNS = ("id", "domain", "lang", "split", "prefix", "index", "num_tokens", "num_bytes", "num_chars")
_MAX_OPEN = 64  # files held open at once, of however many domains
_MAX_NAME_BYTES = 200  # file systems allow 255, ending included


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.int32]:
    """Return the smallest integer type of the token files that holds every id."""
    return np.uint16 if vocab_size <= MAX_UINT16_VOCAB else np.int32


@dataclass(slots=True)
class _Set:
    """A data set being written."""

    path: Path
    split: str
    domain: str
    lang: str
    builder: Any
    num_documents: int = 0
    num_tokens: int = 0
    num_bytes: int = 0
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        self.prefix = self.path.name.removesuffix(".bin")

    def entry(self) -> dict[str, str | int]:
        names = ("prefix", "split", "domain", "lang", "num_documents", "num_tokens", "num_bytes")
        return {name: getattr(self, name) for name in names}


@dataclass(kw_only=True, slots=True)
class TokenWriter:
    """Writes the files of a tokens artifact into ``folder``.

    Example:
        with TokenWriter(folder=draft.folder, vocab_size=..., bos_token_id=..., eos_token_id=...,
                         tokenizer_hash=...) as writer:
            writer.add(ids, id=..., domain=..., lang=..., split="train", num_bytes=..., num_chars=...)
        draft.record(**writer.manifest_keys())
    """

    folder: Path
    """An existing folder; files appear in it as documents arrive."""
    vocab_size: int
    """Number of rows of the model's vocabulary; every id must be below it."""
    bos_token_id: int | None
    """First token of every document, where the tokenizer has one."""
    eos_token_id: int
    """Last token of every document."""
    tokenizer_hash: str
    """Of the tokenizer that made the ids."""
    may_be_empty: bool = False
    """Whether no document at all is fine: so it is for a part of an artifact."""
    _sets: dict[tuple[str, str, str], _Set] = field(default_factory=lambda: {}, init=False)
    _opened: dict[str, _Set] = field(default_factory=dict[str, _Set], init=False)  # the last used last
    _columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _COLUMNS}, init=False)
    _table: Any = field(default=None, init=False)

    def add(
        self,
        ids: Sequence[int] | NDArray[Any],
        *,
        id: str,
        domain: str,
        lang: str,
        split: str,
        num_bytes: int,
        num_chars: int,
    ) -> None:
        """Append one document.

        Args:
            ids: ``[bos] text [eos]`` as ``hanlm.tokenizing.document_ids`` gives it (bos only where there is one).
            id: Name of the document.
            domain: Domain; decides the file together with split and language.
            lang: Language, such as ``zh`` or ``en``.
            split: ``train`` or ``valid``.
            num_bytes: UTF-8 length of exactly the text that the ids spell.
            num_chars: Number of its characters.

        Raises:
            InputError: If an id does not fit the vocabulary.
        """
        ids_T = np.asarray(ids)
        if ids_T.size == 0 or ids_T.min() < 0 or ids_T.max() >= self.vocab_size:
            span = f"ids {ids_T.min()} to {ids_T.max()}" if ids_T.size else "no ids"
            raise InputError(
                f"expected token ids from 0 to {self.vocab_size - 1} in document {id!r}, got {span}; "
                "tokenize with the tokenizer of the model that is to be trained."
            )
        out = self._set(split, domain, lang)
        row = (id, domain, lang, split, out.prefix, out.num_documents, ids_T.size, num_bytes, num_chars)
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        out.builder.add_document(ids_T, [ids_T.size])
        out.num_documents += 1
        out.num_tokens += ids_T.size
        out.num_bytes += num_bytes
        if len(self._columns["id"]) >= _ROWS_PER_GROUP:
            self._write_rows()

    def manifest_keys(self) -> dict[str, Any]:
        """Return the keys that the manifest of a tokens artifact must hold; call it after the block."""
        return {
            "datasets": [s.entry() for s in self._sets.values()],
            "vocab_size": self.vocab_size,
            "dtype": token_dtype(self.vocab_size).__name__,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
            "tokenizer_hash": self.tokenizer_hash,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for out in self._sets.values():
            if kind is None:
                out.builder.finalize(str(self.folder / f"{out.prefix}.idx"))
            else:
                out.builder.data_file.close()
        if kind is None:
            self._write_rows()
        if self._table is not None:
            self._table.close()
        if kind is None and not self._sets and not self.may_be_empty:
            raise InputError("expected at least one document to tokenize, got none; check the corpus and its filters.")

    def _set(self, split: str, domain: str, lang: str) -> _Set:
        key = (split, domain, lang)
        if key not in self._sets:
            with megatron_import():
                from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
            taken = {out.prefix for out in self._sets.values()}
            path = self.folder / f"{free_prefix(split, domain, lang, taken)}.bin"
            builder = IndexedDatasetBuilder(str(path), dtype=token_dtype(self.vocab_size))
            self._sets[key] = _Set(path=path, split=split, domain=domain, lang=lang, builder=builder)
        return self._kept_open(self._sets[key])

    def _kept_open(self, out: _Set) -> _Set:
        """Return the set with its file open, and close the one that has waited longest where there are too many."""
        if out.builder.data_file.closed:
            out.builder.data_file = out.path.open("ab")
        self._opened.pop(out.prefix, None)
        self._opened[out.prefix] = out
        if len(self._opened) > _MAX_OPEN:
            self._opened.pop(next(iter(self._opened))).builder.data_file.close()
        return out

    def _write_rows(self) -> None:
        if not self._columns["id"]:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        batch: Any = pa.table(self._columns)
        if self._table is None:
            self._table = pq.ParquetWriter(self.folder / DOCUMENTS, batch.schema)
        self._table.write_table(batch)
        self._columns = {name: [] for name in _COLUMNS}


def free_prefix(split: str, domain: str, lang: str, taken: Collection[str]) -> str:
    """Return the name of a data set's files: ``<split>-<domain>``, and more where that is taken."""
    plain = f"{split}-{domain}"
    numbered = (f"{plain}-{lang}-{n}" for n in range(2, len(taken) + 3))
    names = map(_file_name, (plain, f"{plain}-{lang}", *numbered))
    return next(name for name in names if name not in taken)


def _file_name(label: str) -> str:
    """Return a label as a name that every file system takes; a long one keeps its beginning and gets a hash."""
    raw = (name := re.sub(r"[^\w.-]+", "_", label)).encode()
    if len(raw) <= _MAX_NAME_BYTES:
        return name
    return f"{raw[: _MAX_NAME_BYTES - 9].decode(errors='ignore')}-{sha256(raw).hexdigest()[:8]}"
