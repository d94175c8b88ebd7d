"""A short continued pretraining, the same for everything that is compared, and its bits per character on the way.

A plain loop on transformers' model: AdamW in float32, a constant rate after a short warm-up, so that every point of
one run is comparable with the same point of another. Shape suffixes: B rows, T tokens, V vocabulary.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hanlm.bits import IGNORE, bits_per_byte, token_nll
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.tokenizing import document_ids

ZH_CHARS, EN_CHARS = 40, 250
"""Length of a scored piece of text: within 128 tokens even where each character is three bytes."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What all are trained and measured on."""

    zh: list[str]
    en: list[str]
    valid_zh: list[str]
    valid_en: list[str]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement on the way."""

    steps: int
    chars: float
    """Chinese characters trained on until then."""
    flops: float
    zh_bits_per_char: float
    en_bits_per_byte: float
    cpu_seconds: float
    """Of the training until then."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every run has in common."""

    lr: float = 6e-4
    warmup_steps: int = 10
    rows: int = 8
    english_rows: int = 2
    length: int = 128


def read_texts(zh: Path, en: Path, *, num_valid_zh: int, num_valid_en: int) -> Texts:
    """Read two corpora; the held-out text is the valid splits', cut into short pieces."""

    def split(path: Path, name: str) -> list[str]:
        shards = sorted(path.glob(f"{name}-*.jsonl.zst"))
        return [document.text for document in read_documents(shards, Quarantine())]

    def pieces(texts: Sequence[str], length: int, limit: int) -> list[str]:
        cut = [text[i : i + length] for text in texts for i in range(0, len(text), length)]
        return cut[:: max(1, len(cut) // limit)][:limit]  # from all over the split

    return Texts(
        zh=split(zh, "train"),
        en=split(en, "train"),
        valid_zh=pieces(split(zh, "valid"), ZH_CHARS, num_valid_zh),
        valid_en=pieces(split(en, "valid"), EN_CHARS, num_valid_en),
    )


def measure(model: Any, tokenizer: Any, texts: Sequence[str], num_units: int) -> float:
    """Return the bits per unit (character, byte) of the texts' own tokens, each text scored after bos."""
    rows = sorted((ids[:-1] for ids in document_ids(tokenizer, texts)), key=len)
    nats = 0.0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), 16):
            chunk = rows[start : start + 16]
            longest = max(map(len, chunk))
            ids_BT = torch.zeros(len(chunk), longest, dtype=torch.long)
            labels_BT = torch.full((len(chunk), longest), IGNORE)
            for i, row in enumerate(chunk):
                ids_BT[i, : len(row)] = torch.tensor(row)
                labels_BT[i, : len(row) - 1] = torch.tensor(row[1:])
            nats += float(token_nll(model(ids_BT).logits, labels_BT).sum())
    return bits_per_byte(nats, num_units)


class Stream:
    """Rows of tokens, from documents in an order that the seed alone decides."""

    def __init__(self, tokenizer: Any, texts: Sequence[str], length: int, seed: int) -> None:
        self._tokenizer, self._texts, self._length = tokenizer, texts, length
        self._order = np.random.default_rng(seed).permutation(len(texts))
        self.num_chars = 0.0

    def __iter__(self) -> Iterator[list[int]]:
        """Yield rows for ever; ``num_chars`` counts the characters of those yielded."""
        buffer: list[int] = []
        chars: list[float] = []  # of each token in the buffer: a document's, spread evenly over its tokens
        while True:
            for i in self._order:
                ids = document_ids(self._tokenizer, [self._texts[i]])[0]
                buffer += ids
                chars += [len(self._texts[i]) / len(ids)] * len(ids)
                while len(buffer) >= self._length:
                    self.num_chars += sum(chars[: self._length])
                    yield buffer[: self._length]
                    buffer, chars = buffer[self._length :], chars[self._length :]


def flops_per_token(model: Any) -> float:
    """Return the training FLOPs of one token: 6 a weight that is multiplied with, the output matrix once among them."""
    body = sum(
        p.numel() for name, p in model.named_parameters() if "embed_tokens" not in name and "lm_head" not in name
    )
    return 6.0 * (body + model.get_output_embeddings().weight.numel())


def train(
    model: Any,
    tokenizer: Any,
    texts: Texts,
    training: Training,
    *,
    chars: Sequence[float] = (),
    flops: Sequence[float] = (),
    steps: Sequence[int] = (),
    seed: int = 0,
) -> list[Point]:
    """Train until every mark (characters, FLOPs or steps) is passed, and measure before and at each one."""
    zh = Stream(tokenizer, texts.zh, training.length, seed)
    en = Stream(tokenizer, texts.en, training.length, seed + 1)
    zh_rows, en_rows = iter(zh), iter(en)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.lr, betas=(0.9, 0.95), weight_decay=0.0)
    per_step = flops_per_token(model) * training.rows * training.length
    marks = {"chars": sorted(chars), "flops": sorted(flops), "steps": sorted(steps)}
    done, spent = 0, 0.0
    points: list[Point] = []

    def look() -> None:
        points.append(
            Point(
                steps=done,
                chars=zh.num_chars,
                flops=done * per_step,
                zh_bits_per_char=measure(model, tokenizer, texts.valid_zh, sum(map(len, texts.valid_zh))),
                en_bits_per_byte=measure(
                    model, tokenizer, texts.valid_en, sum(len(t.encode()) for t in texts.valid_en)
                ),
                cpu_seconds=spent,
            )
        )

    look()
    while any(marks.values()):
        start = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = training.lr * min(1.0, (done + 1) / training.warmup_steps)
        rows = [next(zh_rows) for _ in range(training.rows - training.english_rows)]
        rows += [next(en_rows) for _ in range(training.english_rows)]
        step(model, optimizer, torch.tensor(rows))
        done += 1
        spent += time.process_time() - start
        now = {"chars": zh.num_chars, "flops": done * per_step, "steps": done}
        passed = {name: [mark for mark in marks[name] if mark <= now[name]] for name in marks}
        if any(passed.values()):
            look()
            marks = {name: [mark for mark in marks[name] if mark > now[name]] for name in marks}
    return points


def step(model: Any, optimizer: torch.optim.Optimizer, ids_BT: torch.Tensor) -> None:
    """Take one optimizer step on rows of tokens."""
    model.train()
    logits_BTV = model(ids_BT).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits_BTV.reshape(-1, logits_BTV.shape[-1]), ids_BT[:, 1:].reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
