"""Scoring whole documents with one model: nats and tokens of each, and whether its tokenizer can spell them."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from eval.sampling import documents_hash, num_bytes
from eval.scoring import score_spans
from eval.spans import document_spans
from hanlm.bits import NATS_PER_BIT
from hanlm.errors import Interrupted
from hanlm.files import fsync
from hanlm.log import Progress
from hanlm.signals import StopRequest
from hanlm.tokenizing import context_token, document_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CHUNK_BYTES = 4 * 1024 * 1024  # text that is tokenized, sorted and batched at once; bounds memory on large data


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """The sliding window, the same for every model of a report."""

    length: int
    """Tokens a model reads at once."""
    stride: int
    """Tokens newly scored by each window after a document's first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentScores:
    """What one model gives N documents."""

    nats: NDArray[np.float64]
    """Summed negative log-likelihood of each document's tokens, (N,)."""
    num_tokens: NDArray[np.int64]
    """Scored tokens of each document, (N,)."""
    num_unknown_tokens: int
    """Tokens that stand for text the vocabulary cannot spell: bits per byte flatters a model that has them."""
    num_changed_documents: int
    """Documents that the tokenizer does not give back as they were."""
    documents_hash: str
    """Hash over the texts as this model's tokenizer got them."""

    @property
    def bits(self) -> NDArray[np.float64]:
        """Code length of each document, (N,)."""
        return self.nats / NATS_PER_BIT

    def save(self, path: Path) -> None:
        """Write the scores, so that an interrupted comparison need not score this model again."""
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            nats=self.nats,
            num_tokens=self.num_tokens,
            counts=np.array([self.num_unknown_tokens, self.num_changed_documents]),
            documents_hash=np.array(self.documents_hash),
        )
        fsync(partial)  # or a crash of the machine could leave the new name on an empty file
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "DocumentScores | None":
        """Read what ``save`` wrote; None where there is nothing, or nothing that can be read."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                unknown, changed = (int(count) for count in stored["counts"])
                return cls(
                    nats=stored["nats"],
                    num_tokens=stored["num_tokens"],
                    num_unknown_tokens=unknown,
                    num_changed_documents=changed,
                    documents_hash=str(stored["documents_hash"]),
                )
        except (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error):
            return None


def score_documents(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    windows: Windows,
    *,
    batch_tokens: int,
    bar: Progress,
    stop: StopRequest,
) -> DocumentScores:
    """Return the scores of every text; ``bar`` advances by bytes of text.

    Raises:
        Interrupted: If a signal asked to stop.
        InputError: If the model yields NaN.
    """
    nats_N = np.zeros(len(texts))
    num_tokens_N = np.zeros(len(texts), dtype=np.int64)
    num_unknown = num_changed = 0
    for first, chunk in _chunks(texts):
        ids = _context_and_ids(tokenizer, chunk)
        num_unknown += sum(token == tokenizer.unk_token_id for one in ids for token in one[1:])
        num_changed += _count_changed(tokenizer, ids, chunk)
        spans = [
            span
            for offset, one in enumerate(ids)
            for span in document_spans(first + offset, one, length=windows.length, stride=windows.stride)
        ]
        bytes_per_token = sum(map(num_bytes, chunk)) / max(1, sum(span.num_scored for span in spans))
        for span, nll in score_spans(model, spans, batch_tokens=batch_tokens):
            nats_N[span.owner] += nll.sum()
            num_tokens_N[span.owner] += len(nll)
            bar.advance(len(nll) * bytes_per_token)
            if stop.requested:
                raise Interrupted("stopped; models scored so far are kept: run the same command again to resume.")
    return DocumentScores(
        nats=nats_N,
        num_tokens=num_tokens_N,
        num_unknown_tokens=num_unknown,
        num_changed_documents=num_changed,
        documents_hash=documents_hash(texts),
    )


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    first = size = 0
    for index, text in enumerate(texts):
        size += num_bytes(text)
        if size >= _CHUNK_BYTES:
            yield first, texts[first : index + 1]
            first, size = index + 1, 0
    if first < len(texts):
        yield first, texts[first:]


def _context_and_ids(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """Return each text as ``[context token, its tokens]``, tokenized as a training document is."""
    head = int(tokenizer.bos_token_id is not None)
    tail = int(tokenizer.eos_token_id is not None)
    context = context_token(tokenizer)
    return [[context, *ids[head : len(ids) - tail]] for ids in document_ids(tokenizer, texts)]


def _count_changed(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[Sequence[int]], texts: Sequence[str]) -> int:
    decoded = tokenizer.batch_decode([list(one[1:]) for one in ids], clean_up_tokenization_spaces=False)
    return sum(after != before for after, before in zip(decoded, texts, strict=True))
