"""What the demo base can do, measured on text it never saw, and its model card.

Shape suffixes: B rows, T tokens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

from base_training import Trained

from hanlm.bits import IGNORE, bits_per_byte, token_nll
from hanlm.models import load_model
from hanlm.tokenizing import load_tokenizer

CHINESE = (
    "今天早上下了一场小雨，街上的人不多。我在路口的小店买了两个包子和一杯豆浆，一边走一边吃。到了办公室，同事们正在"
    "讨论周末去哪里爬山。有人说城北的山风景好，也有人担心天气。最后大家决定先看看星期五的天气预报，再做打算。",
    "这本书讲的是一位老师傅和他的三个徒弟。师傅话很少，手艺却是镇上最好的。徒弟们起初只想快点学会，后来才明白，慢"
    "下来把每一步做好，才是他真正想教的东西。读完以后，我想起了自己的外公。",
)
"""Chinese written for this card: what the base costs on text whose script it has never seen."""

MAX_BYTES_PER_DOMAIN = 1_000_000
PROMPTS = ("The", "Returns the number of", "The people of this country")
_ROWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """Figures of the finished folder."""

    num_parameters: int
    """Weights, the tied embedding counted once."""
    bits_per_byte: dict[str, float]
    """Held-out code length by domain; `english` is all held-out English together, `chinese` the card's own text."""
    num_bytes: dict[str, int]
    """UTF-8 bytes that each of the figures was measured on."""
    samples: list[str]
    """What it writes after `PROMPTS`."""


def measure(folder: Path, valid: Mapping[str, Sequence[str]]) -> Measures:
    """Load the finished folder as any user would and measure it."""
    import torch

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    nats: dict[str, float] = {}
    num_bytes: dict[str, int] = {}
    for domain, texts in [*valid.items(), ("chinese", CHINESE)]:
        chosen = _first_bytes(texts)
        nats[domain] = total_nats(model, tokenizer, chosen)
        num_bytes[domain] = sum(len(text.encode()) for text in chosen)
    nats["english"] = sum(nats[domain] for domain in valid)
    num_bytes["english"] = sum(num_bytes[domain] for domain in valid)
    torch.manual_seed(0)
    return Measures(
        num_parameters=model.num_parameters(),
        bits_per_byte={name: bits_per_byte(nats[name], num_bytes[name]) for name in nats},
        num_bytes=num_bytes,
        samples=[_continue(model, tokenizer, prompt) for prompt in PROMPTS],
    )


def total_nats(model: Any, tokenizer: Any, texts: Iterable[str]) -> float:
    """Return the negative log-likelihood of the texts' own tokens, in nats.

    A text longer than the context is cut into pieces that each start anew after `<s>`, so the sum is at most a little
    above that of a sliding window.
    """
    import torch

    length = model.config.max_position_embeddings - 1
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    pieces = [ids[start : start + length] for ids in encoded for start in range(0, len(ids), length)]
    pieces.sort(key=len)  # rows of like length waste no padding
    total = 0.0
    for rows in batched(pieces, _ROWS):
        width = max(map(len, rows))
        ids_BT = torch.tensor(
            [[tokenizer.bos_token_id, *ids, *[tokenizer.pad_token_id] * (width - len(ids))] for ids in rows]
        )
        labels_BT = torch.tensor([[*ids, *[IGNORE] * (width - len(ids))] for ids in rows])
        with torch.inference_mode():
            logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
        total += float(token_nll(logits_BTV, labels_BT).sum())
    return total


def write_card(folder: Path, measures: Measures, sources: Counter[tuple[str, str]], trained: Trained) -> None:
    """Write the folder's README.md."""
    bits = "\n".join(
        f"| {name} | {value:.3f} | {measures.num_bytes[name]:,} |" for name, value in measures.bits_per_byte.items()
    )
    samples = "\n\n".join("```text\n" + sample.replace("```", "") + "\n```" for sample in measures.samples)
    text = _CARD.format(
        millions=measures.num_parameters / 1e6,
        num_tokens=trained.num_tokens,
        num_steps=trained.num_steps,
        minutes=trained.seconds / 60,
        chinese=measures.bits_per_byte["chinese"],
        bits=bits,
        samples=samples,
        data=_data_lines(sources),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _data_lines(sources: Counter[tuple[str, str]]) -> str:
    """Return one line a domain: its size and its licences, the largest first."""
    licences: dict[str, list[str]] = {}
    num_bytes: Counter[str] = Counter()
    for (domain, licence), size in sources.most_common():
        licences.setdefault(domain, []).append(licence)
        num_bytes[domain] += size
    return "\n".join(f"- {name} ({num_bytes[name]:,} bytes): {'; '.join(licences[name])}" for name in licences)


def _first_bytes(texts: Sequence[str]) -> list[str]:
    """Return whole texts from the front until there are enough bytes; held-out texts are in no particular order."""
    chosen: list[str] = []
    size = 0
    for text in texts:
        if size >= MAX_BYTES_PER_DOMAIN:
            break
        chosen.append(text)
        size += len(text.encode())
    return chosen


def _continue(model: Any, tokenizer: Any, prompt: str) -> str:
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    room = model.config.max_position_embeddings - inputs["input_ids"].shape[1]
    ids_BT = model.generate(**inputs, max_new_tokens=min(60, room), do_sample=True, temperature=0.7, top_p=0.9)
    return tokenizer.decode(ids_BT[0], skip_special_tokens=True)


_CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# HanLM demo base

A small English language model in the LLaMA architecture, trained from random weights so that HanLM has a base of its
own to turn into a Chinese one. It is a demonstration and a test object: it writes recognisable English about software
and little else, and nothing it says should be relied on.

- {millions:.2f} M parameters, bf16: RMSNorm, SwiGLU, RoPE, grouped-query attention, tied embeddings; see `config.json`.
- SentencePiece BPE with byte fallback, learned on the same English; no piece holds a Chinese, Japanese or Korean
  character. `tokenizer.model` and `tokenizer.json` agree on every text that spells no special token. `<pad>` is a token
  of its own.
- Trained on English only: {num_tokens:,} tokens in {num_steps:,} steps, {minutes:.0f} minutes on two shared CPU cores,
  matrices by Muon and the rest by AdamW, cosine schedule, bf16 autocast over float32 weights. Documents are packed as
  `<s> text </s>` and read in random order as far as the time allows, out of the text listed at the end.

Made by `recipes/demo/train_base.py`, which anyone can run again on any folder of English text.

## Bits per byte on text it never saw

Held out by the hash of the content (2%); every document is scored after `<s>`, its own tokens only.

| text | bits per byte | bytes |
|---|---|---|
{bits}

It knows no Chinese: {chinese:.1f} bits per byte, where bytes drawn at random cost 8.

## What it writes

Sampled at temperature 0.7 after {prompts}:

{samples}

## Licences of the data

{data}
""".replace("{prompts}", ", ".join(f"“{prompt}”" for prompt in PROMPTS))
