"""``hanlm ppl``: bits per byte of any number of models on identical text, with intervals and paired differences."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.candidates import Candidate, find_candidates
from hanlm.artifact import fingerprint
from hanlm.config import NamedPath
from hanlm.devices import Device, Precision
from hanlm.errors import ConfigError
from hanlm.log import progress, say
from hanlm.publish import publish, refuse_existing
from hanlm.quarantine import MAX_QUARANTINED, kept_quarantine
from hanlm.records import TxtUnit
from hanlm.signals import StopRequest, stop_on_signal

if TYPE_CHECKING:
    from eval.document_scores import DocumentScores, Windows
    from eval.sampling import Sample

MAX_DEFAULT_LENGTH = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class PplConfig:
    """Compare models in bits per byte on identical text."""

    model: list[NamedPath]
    """Model folders or LoRA adapters, each DIR or NAME=DIR."""
    data: list[NamedPath]
    """Texts: files, folders or corpus artifacts (their held-out split), each PATH or DOMAIN=PATH."""
    out: Path
    """Report to write."""
    max_documents: int | None = None
    """Most documents scored of each domain; none for all."""
    max_bytes: int | None = None
    """Most UTF-8 bytes scored of each domain; none for all."""
    length: int | None = None
    """Context length in tokens; by default the shortest context of the models, at most 2048."""
    stride: int | None = None
    """Tokens newly scored by each window after a document's first; smaller is slower and gives each token more context.
    By default half the length."""
    batch_tokens: int | None = None
    """Most tokens of a batch; by default what suits the device."""
    precision: Precision = "auto"
    """auto is bf16 on a GPU and fp32 on a CPU."""
    device: Device = "auto"
    """auto is a GPU where there is one."""
    num_resamples: int = 1000
    """Bootstrap samples behind each interval."""
    adapter_base: Path | None = None
    """Base model of the adapters; by default the one each adapter names."""
    trust_remote_code: bool = False
    """Let a model folder run Python of its own (auto_map). Only for code that you have read."""
    txt_unit: TxtUnit = "file"
    """What is one document in a text file."""
    lang: str | None = None
    """Language of texts that name none; by default zh for those of which at least 30% is Han."""
    max_quarantined: float = MAX_QUARANTINED
    """Largest share of unreadable records."""
    seed: int = 0
    """Decides which documents are sampled, and the bootstrap."""
    overwrite: bool = False
    """Replace the report."""

    def __post_init__(self) -> None:
        for name in ("max_documents", "max_bytes", "length", "stride", "batch_tokens", "num_resamples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
        if not self.data:
            raise ConfigError("expected at least one --data, got none; pass a text file, jsonl or corpus.")
        if self.length is not None and self.stride is not None and self.stride > self.length:
            raise ConfigError(f"need stride <= length={self.length}, got stride={self.stride}.")


def ppl(config: PplConfig) -> Path:
    """Score every model, write the report and return its folder.

    Raises:
        ConfigError, InputError, ArtifactError: Before anything is scored where that can be known.
        Interrupted: If a signal asked to stop; models already scored are not scored again.
    """
    from eval.output import write_json
    from eval.ppl_figures import compare, token_perplexities
    from eval.ppl_output import describe_data, describe_method, write_documents
    from eval.ppl_page import print_summary, write_page
    from eval.sampling import SampleLimits, read_data, sample_documents
    from eval.statistics import Resampling

    candidates = find_candidates(config.model, config.adapter_base, trust_remote_code=config.trust_remote_code)
    windows = resolve_windows(config, candidates)
    inputs = _inputs(config, candidates)
    with publish(
        config.out, kind="report", config=config, inputs=inputs, seed=config.seed, overwrite=config.overwrite
    ) as draft:
        with kept_quarantine(draft) as quarantine:
            limits = SampleLimits(max_documents=config.max_documents, max_bytes=config.max_bytes, seed=config.seed)
            documents = read_data(
                config.data,
                quarantine,
                txt_unit=config.txt_unit,
                lang=config.lang,
                max_quarantined=config.max_quarantined,
            )
            sample = sample_documents(documents, limits)
        started = time.monotonic()
        with stop_on_signal() as stop:
            scores = [_score(config, candidate, windows, sample, draft.work, stop) for candidate in candidates]
        resampling = Resampling(num_resamples=config.num_resamples, seed=config.seed)
        figures = compare(candidates, scores, sample.documents, resampling)
        report: dict[str, Any] = {
            "task": "ppl",
            **figures,
            "token_perplexity": token_perplexities(figures["models"]),
            "data": describe_data(config.data, sample, quarantine),
            "method": describe_method(config, windows),
            "seconds": round(time.monotonic() - started, 3),
        }
        write_json(draft.folder / "report.json", report)
        write_documents(draft.folder / "documents.jsonl", sample.documents, candidates, scores)
        write_page(draft.folder / "report.html", report, sample.documents, scores)
        draft.record(documents_hash=sample.documents_hash, counts=report["data"])
    print_summary(report)
    return config.out


def plan(config: PplConfig) -> list[str]:
    """Return what would be scored, after checking the models and the output."""
    from hanlm.config import split_named_path

    refuse_existing(config.out, config.overwrite)
    candidates = find_candidates(config.model, config.adapter_base, trust_remote_code=config.trust_remote_code)
    windows = resolve_windows(config, candidates)
    for entry in config.data:
        fingerprint(split_named_path(entry)[1])
    return [
        f"score {len(candidates)} models: {', '.join(candidate.name for candidate in candidates)}",
        f"on {', '.join(config.data)}, at most {config.max_documents or 'all'} documents and "
        f"{config.max_bytes or 'all'} bytes of each domain",
        f"with windows of {windows.length} tokens, {windows.stride} newly scored by each",
        f"write report.json, report.html and documents.jsonl to {config.out}",
    ]


def resolve_windows(config: PplConfig, candidates: Sequence[Candidate]) -> "Windows":
    """Return the window that every model can read.

    Raises:
        ConfigError: If ``--length`` is longer than a model's context.
    """
    from eval.document_scores import Windows

    limits = {c.name: c.max_length for c in candidates if c.max_length is not None}
    length = config.length or min([MAX_DEFAULT_LENGTH, *limits.values()])
    for name, limit in limits.items():
        if length > limit:
            raise ConfigError(f"--length {length} exceeds the context of {name}, {limit} tokens; pass at most that.")
    return Windows(length=length, stride=min(config.stride or max(1, length // 2), length))


def _score(
    config: PplConfig, candidate: Candidate, windows: "Windows", sample: "Sample", work: Path, stop: StopRequest
) -> "DocumentScores":
    from eval.candidates import load_candidate, resolve_batch_tokens
    from eval.document_scores import DocumentScores, score_documents
    from eval.sampling import num_bytes

    stored = work / f"scores-{_cache_key(config, candidate, windows, sample)}.npz"
    if (scores := DocumentScores.load(stored)) is not None:
        say(f"{candidate.name}: scored before the interruption, taken over")
        return scores
    batch_tokens = resolve_batch_tokens(config.batch_tokens, config.device)
    model, tokenizer = load_candidate(candidate, precision=config.precision, device=config.device)
    texts = [document.text for document in sample.documents]
    with progress(sum(map(num_bytes, texts)), f"scoring with {candidate.name}") as bar:
        scores = score_documents(model, tokenizer, texts, windows, batch_tokens=batch_tokens, bar=bar, stop=stop)
    assert scores.documents_hash == sample.documents_hash  # or models would be compared on different bytes
    scores.save(stored)
    return scores


def _cache_key(config: PplConfig, candidate: Candidate, windows: "Windows", sample: "Sample") -> str:
    parts = [
        fingerprint(candidate.path),
        "" if candidate.base is None else fingerprint(candidate.base),
        sample.documents_hash,
        f"{windows.length} {windows.stride} {config.precision} {config.device}",
    ]
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def _inputs(config: PplConfig, candidates: Sequence[Candidate]) -> dict[str, Path]:
    from hanlm.config import split_named_path

    models = {f"model:{c.name}": c.path for c in candidates}
    bases = {f"base:{c.name}": c.base for c in candidates if c.base is not None}
    return models | bases | {f"data:{i}": split_named_path(entry)[1] for i, entry in enumerate(config.data)}
