"""Token files: Megatron's ``.bin`` and ``.idx``, opened through megatron-core's own classes and checked.

A tokens artifact holds, for every split, domain and language, one indexed data set ``<split>-<domain>`` with
one entry a document (``[bos] text [eos]``), and ``documents.parquet`` with a row for each document.
"""

import resource
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanlm.artifact import fingerprint, open_artifact, read_manifest
from hanlm.errors import ArtifactError, ConfigError
from hanlm.megatron import megatron_import
from hanlm.token_writer import DOCUMENTS, MAX_UINT16_VOCAB, TokenWriter, token_dtype

__all__ = [
    "TokenSet",
    "TokenWriter",
    "Tokens",
    "open_tokens",
    "read_index",
    "require_fresh",
    "require_vocab_fits",
    "token_dtype",
    "write_index",
]

_FILES_PER_SET = 3  # that megatron-core holds open while it reads a data set
_MAGIC = b"MMIDIDX\0\0"
_DTYPES = {4: np.dtype(np.int32), 8: np.dtype(np.uint16)}
_HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, number of sequences, of document marks


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSet:
    """One indexed data set of a tokens artifact."""

    path: Path
    """Path prefix of its ``.bin`` and ``.idx``."""
    split: str
    """``train`` or ``valid``."""
    domain: str
    """Domain of its documents."""
    lang: str
    """Language of its documents."""
    num_documents: int
    """Documents in it."""
    num_tokens: int
    """Tokens in it, bos and eos included."""
    num_bytes: int
    """UTF-8 bytes of its documents' text."""

    def open(self) -> Any:
        """Return megatron-core's memory-mapped ``IndexedDataset``: item i is the ids of document i.

        Items are views into the file, unmapped when the data set is collected: keep it while they are read.
        """
        with megatron_import():
            from megatron.core.datasets.indexed_dataset import IndexedDataset

            # Inside the block: outside of torch.distributed each opening warns that it knows no rank.
            return IndexedDataset(str(self.path))


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """A tokens artifact, opened and checked."""

    path: Path
    """The artifact."""
    hash: str
    """Hash of its manifest."""
    sets: tuple[TokenSet, ...]
    """Its data sets."""
    vocab_size: int
    """Vocabulary the ids belong to."""
    bos_token_id: int | None
    """First token of every document, where there is one."""
    eos_token_id: int
    """Last token of every document."""
    tokenizer_hash: str
    """Of the tokenizer that made the ids."""
    mix: Mapping[str, Any] | None = None
    """The manifest's ``mix``, where one was asked for: phases of training with weights by prefix."""

    def documents(
        self,
        *,
        split: str,
        columns: Sequence[str] | None = None,
        filters: Sequence[tuple[str, str, Any]] = (),
    ) -> Any:
        """Return the rows of ``documents.parquet`` of one split as a ``pyarrow.Table``.

        Args:
            split: ``train`` or ``valid``.
            columns: Columns to read; by default all.
            filters: Further conditions, as pyarrow writes them: ``("index", "in", [1, 2])``.
        """
        import pyarrow.parquet as pq

        conditions = [("split", "==", split), *filters]
        return pq.read_table(self.path / DOCUMENTS, columns=columns and list(columns), filters=conditions)


def open_tokens(path: Path, *, verify: bool = True) -> Tokens:
    """Open a tokens artifact; with ``verify`` check sizes, hashes and that every id is in the vocabulary.

    Raises:
        InputError: If there is nothing at ``path``.
        ArtifactError: If it is unfinished, truncated, corrupt, or holds an id beyond its vocabulary, or more data
            sets than this process may hold open.
    """
    manifest = read_manifest(path)
    sets = tuple(_read_sets(path, manifest)) if manifest and manifest["kind"] == "tokens" else ()
    if verify:
        for each in sets:  # before the hashes: "shorter than its index" says more than a checksum
            _check_size(each)
    artifact = open_artifact(path, "tokens", verify=verify)
    tokens = Tokens(
        path=path,
        hash=artifact.hash,
        sets=sets,
        **{k: artifact.manifest[k] for k in ("vocab_size", "bos_token_id", "eos_token_id", "tokenizer_hash")},
        mix=artifact.manifest.get("mix"),
    )
    if verify:
        for each in sets:
            _check_ids(each, tokens.vocab_size)
    _allow_open_files(path, len(sets))
    return tokens


def require_fresh(tokens: Tokens) -> None:
    """Raise ``ArtifactError`` if a corpus that the tokens were made of is another one by now.

    A corpus that is no longer where it was says nothing: tokens may travel alone.
    """
    manifest = read_manifest(tokens.path)
    for name, given in (manifest or {}).get("inputs", {}).items():
        corpus = Path(given["path"])
        if not name.startswith("corpus-") or read_manifest(corpus) is None:
            continue
        if (now := fingerprint(corpus)) != given["hash"]:
            raise ArtifactError(
                f"{tokens.path} was made of {corpus} as it was ({given['hash'][:12]}), but that has changed since "
                f"({now[:12]}); run `hanlm corpus tokenize` again, or rename the new corpus to train on the old tokens."
            )


def _allow_open_files(path: Path, num_sets: int) -> None:
    """Raise this process's limit of open files by what reading the sets takes, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = num_sets * _FILES_PER_SET
    if hard != resource.RLIM_INFINITY and needed > hard // 2:
        raise ArtifactError(
            f"{path} holds {num_sets} data sets, which take {needed} open files to read, but a process may hold "
            f"{hard}; raise that (ulimit -Hn), or build the corpora with fewer domains."
        )
    if soft != resource.RLIM_INFINITY:
        wanted = soft + needed if hard == resource.RLIM_INFINITY else min(soft + needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _read_sets(path: Path, manifest: dict[str, Any]) -> list[TokenSet]:
    return [
        TokenSet(path=path / entry["prefix"], **{k: v for k, v in entry.items() if k != "prefix"})
        for entry in manifest["datasets"]
    ]


def _check_size(tokens: TokenSet) -> None:
    """Refuse a ``.bin`` that is not exactly as long as its ``.idx`` says."""
    lengths, dtype = read_index(tokens.path)
    expected, got = int(lengths.sum(dtype=np.int64)) * dtype.itemsize, _bin(tokens.path).stat().st_size
    if expected != got:
        raise ArtifactError(
            f"{_bin(tokens.path)} should hold {expected} bytes by its index, got {got}; "
            "it was cut or damaged: run `hanlm corpus tokenize` again."
        )


def _check_ids(tokens: TokenSet, vocab_size: int) -> None:
    _, dtype = read_index(tokens.path)
    if dtype.itemsize == 2 and vocab_size > MAX_UINT16_VOCAB:
        raise ArtifactError(
            f"{_bin(tokens.path)} stores ids in 16 bits, which cannot tell the {vocab_size} tokens of its "
            "vocabulary apart; run `hanlm corpus tokenize` again."
        )
    ids_N = np.memmap(_bin(tokens.path), dtype=dtype, mode="r")
    smallest, largest = int(ids_N.min()), int(ids_N.max())
    if smallest < 0 or largest >= vocab_size:
        raise ArtifactError(
            f"{_bin(tokens.path)} holds token ids from {smallest} to {largest}, expected 0 to {vocab_size - 1}; "
            "run `hanlm corpus tokenize` with the tokenizer of the model that is to be trained."
        )


def read_index(prefix: Path) -> tuple[NDArray[np.int32], np.dtype[Any]]:
    """Return every document's length in tokens and the type of the ids, from the ``.idx``.

    Raises:
        ArtifactError: If a file is missing, or the index is none or cut.
    """
    for file in (_idx(prefix), _bin(prefix)):
        if not file.is_file():
            raise ArtifactError(f"{file} is missing; run `hanlm corpus tokenize` again.")
    with _idx(prefix).open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(_MAGIC):
            raise ArtifactError(f"{_idx(prefix)} is not an index of token files; run `hanlm corpus tokenize` again.")
        code, num_sequences = _HEADER.unpack(head)[2:4]
        lengths = np.fromfile(file, dtype=np.int32, count=num_sequences)
    if code not in _DTYPES or len(lengths) != num_sequences:
        raise ArtifactError(f"{_idx(prefix)} is cut or of an unknown type; run `hanlm corpus tokenize` again.")
    return lengths, _DTYPES[code]


def write_index(prefix: Path, lengths: NDArray[np.int32], dtype: np.dtype[Any]) -> None:
    """Write the ``.idx`` of documents of these lengths in tokens, one sequence each, as megatron-core writes it."""
    code = next(code for code, known in _DTYPES.items() if known == dtype)
    ends = np.cumsum(lengths, dtype=np.int64) * dtype.itemsize
    with _idx(prefix).open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, 1, code, len(lengths), len(lengths) + 1))
        lengths.tofile(file)
        np.concatenate([np.zeros(1, np.int64), ends[:-1]]).tofile(file)  # the byte at which each document begins
        np.arange(len(lengths) + 1, dtype=np.int64).tofile(file)


def _bin(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".bin")


def _idx(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".idx")


def require_vocab_fits(tokens: Tokens, vocab_size: int) -> None:
    """Raise ``ConfigError`` if the model's vocabulary is smaller than the tokens'."""
    if tokens.vocab_size > vocab_size:
        raise ConfigError(
            f"expected tokens of a vocabulary of at most {vocab_size}, got {tokens.vocab_size} in "
            f"{tokens.path}; run `hanlm corpus tokenize` with the model that is to be trained."
        )
