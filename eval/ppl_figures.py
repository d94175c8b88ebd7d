"""From nats per document to the figures of a report: per scope and model, with intervals and paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.candidates import Candidate
from eval.document_scores import DocumentScores
from eval.sampling import num_bytes
from eval.statistics import Resampling, interval, resampled_ratios
from hanlm.bits import bits_per_byte
from hanlm.records import Document
from hanlm.text import base_language

type ScopeKind = Literal["overall", "domain", "language"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """A set of documents that has figures of its own."""

    kind: ScopeKind
    """What the set shares."""
    name: str
    """Which domain or language; "overall" for all."""
    indices: NDArray[np.intp]
    """Its documents."""


def find_scopes(documents: Sequence[Document]) -> list[Scope]:
    """Return the whole, every domain and every language that documents name, each sorted by name."""
    scopes = [Scope(kind="overall", name="overall", indices=np.arange(len(documents)))]
    keys: tuple[tuple[ScopeKind, list[str]], ...] = (
        ("domain", [document.domain for document in documents]),
        ("language", [base_language(document.lang) for document in documents]),
    )
    for kind, labels in keys:
        values = np.array(labels)
        for name in sorted(set(labels) - {""}):
            scopes.append(Scope(kind=kind, name=name, indices=np.flatnonzero(values == name)))
    return scopes


def compare(
    candidates: Sequence[Candidate],
    scores: Sequence[DocumentScores],
    documents: Sequence[Document],
    resampling: Resampling,
) -> dict[str, Any]:
    """Return the ``models``, ``differences`` and ``language_differences`` of a report.

    A difference is bits per byte of ``b`` minus that of ``a``: below zero, ``b`` is the better one.
    """
    models: list[dict[str, Any]] = [_model_entry(c, s) for c, s in zip(candidates, scores, strict=True)]
    differences: dict[ScopeKind, list[dict[str, Any]]] = {"overall": [], "domain": [], "language": []}
    bits_NM = np.stack([one.bits for one in scores], axis=1)
    bytes_N = np.array([num_bytes(document.text) for document in documents], dtype=np.float64)
    chars_N = np.array([len(document.text) for document in documents])
    for scope in find_scopes(documents):
        rows = scope.indices
        samples_RM = resampled_ratios(bits_NM[rows], bytes_N[rows], resampling, f"{scope.kind}:{scope.name}")
        for model, score, samples_R in zip(models, scores, samples_RM.T, strict=True):
            figures = _figures(score, rows, int(bytes_N[rows].sum()), int(chars_N[rows].sum()))
            figures["ci95"] = interval(samples_R, len(rows))
            _place(model, scope, figures)
        differences[scope.kind] += _differences(candidates, models, scope, samples_RM)
    return {
        "models": models,
        "differences": differences["overall"] + differences["domain"],
        "language_differences": differences["language"],
    }


def token_perplexities(models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return perplexity per token by tokenizer, for those that at least two models share: no others compare."""
    groups: dict[str, dict[str, float]] = {}
    for model in models:
        overall = model["overall"]
        if overall["num_tokens"]:
            bits_per_token = overall["bits_per_byte"] * overall["num_bytes"] / overall["num_tokens"]
            groups.setdefault(model["tokenizer_hash"], {})[model["name"]] = 2.0**bits_per_token
    return [{"tokenizer_hash": key, "perplexity": group} for key, group in groups.items() if len(group) > 1]


def _model_entry(candidate: Candidate, score: DocumentScores) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "path": str(candidate.path),
        "base": None if candidate.base is None else str(candidate.base),
        "tokenizer_hash": candidate.tokenizer_hash,
        "documents_hash": score.documents_hash,
        "num_unknown_tokens": score.num_unknown_tokens,
        "num_changed_documents": score.num_changed_documents,
        "overall": {},
        "domains": {},
        "languages": {},
    }


def _figures(score: DocumentScores, rows: NDArray[np.intp], size: int, num_chars: int) -> dict[str, Any]:
    nats, num_tokens = float(score.nats[rows].sum()), int(score.num_tokens[rows].sum())
    return {
        "bits_per_byte": bits_per_byte(nats, size),
        "bits_per_char": bits_per_byte(nats, num_chars),
        "num_bytes": size,
        "num_chars": num_chars,
        "num_tokens": num_tokens,
        "num_documents": len(rows),
        "tokens_per_char": num_tokens / num_chars,
    }


def _place(model: dict[str, Any], scope: Scope, figures: dict[str, Any]) -> None:
    if scope.kind == "overall":
        model["overall"] = figures
    else:
        model[f"{scope.kind}s"][scope.name] = figures


def _of(model: dict[str, Any], scope: Scope) -> dict[str, Any]:
    return model["overall"] if scope.kind == "overall" else model[f"{scope.kind}s"][scope.name]


def _differences(
    candidates: Sequence[Candidate], models: Sequence[dict[str, Any]], scope: Scope, samples_RM: NDArray[np.float64]
) -> list[dict[str, Any]]:
    return [
        {
            "a": candidates[a].name,
            "b": candidates[b].name,
            ("lang" if scope.kind == "language" else "domain"): scope.name,
            "bits_per_byte": _of(models[b], scope)["bits_per_byte"] - _of(models[a], scope)["bits_per_byte"],
            "ci95": interval(samples_RM[:, b] - samples_RM[:, a], len(scope.indices)),
        }
        for a, b in combinations(range(len(candidates)), 2)
    ]
