"""What a perplexity report says about its data and method, and its table of documents."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.candidates import Candidate, resolve_precision
from eval.document_scores import DocumentScores, Windows
from eval.sampling import Sample, num_bytes
from hanlm.devices import resolve_device
from hanlm.quarantine import Quarantine
from hanlm.records import Document

if TYPE_CHECKING:
    from eval.ppl import PplConfig


def describe_data(paths: Sequence[str], sample: Sample, quarantine: Quarantine) -> dict[str, Any]:
    """Return what was read, what was scored and what was set aside."""
    scored = Counter(document.domain for document in sample.documents)
    return {
        "paths": list(paths),
        "documents_hash": sample.documents_hash,
        "domains": {name: {"read": count, "scored": scored[name]} for name, count in sorted(sample.num_read.items())},
        "num_empty": sample.num_empty,
        "quarantined": dict(quarantine.counts),
    }


def describe_method(config: "PplConfig", windows: Windows) -> dict[str, Any]:
    """Return how the figures were made, for whoever wants to repeat or doubt them."""
    return {
        "length": windows.length,
        "stride": windows.stride,
        "start": "every document is conditioned on bos (eos where there is none); only its own tokens are counted",
        "differences": "bits per byte of b minus bits per byte of a, on the same resampled documents",
        "precision": str(resolve_precision(config.precision, config.device)).removeprefix("torch."),
        "device": resolve_device(config.device),
        "num_resamples": config.num_resamples,
        "seed": config.seed,
    }


def write_documents(
    path: Path, documents: Sequence[Document], candidates: Sequence[Candidate], scores: Sequence[DocumentScores]
) -> None:
    """Write one JSON line per document with each model's nats and tokens: enough to compute every figure again."""
    named = [(candidate.name, score) for candidate, score in zip(candidates, scores, strict=True)]
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for i, document in enumerate(documents):
            row = {
                "id": document.id,
                "domain": document.domain,
                "lang": document.lang,
                "num_bytes": num_bytes(document.text),
                "num_chars": len(document.text),
                "nats": {name: float(score.nats[i]) for name, score in named},
                "num_tokens": {name: int(score.num_tokens[i]) for name, score in named},
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
