"""``hanlm bench``: accuracy of models on multiple choice, each choice scored by its likelihood."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.candidates import Candidate, find_candidates
from eval.choice_tasks import ChoiceRow, PromptForm
from hanlm.config import NamedPath
from hanlm.devices import Device, Precision
from hanlm.errors import ConfigError, Interrupted
from hanlm.log import progress
from hanlm.publish import publish, refuse_existing
from hanlm.quarantine import MAX_QUARANTINED, kept_quarantine
from hanlm.signals import StopRequest, stop_on_signal

if TYPE_CHECKING:
    from eval.bench_figures import ChoiceScores


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchConfig:
    """Score multiple-choice tasks by likelihood."""

    model: list[NamedPath]
    """Model folders or LoRA adapters, each DIR or NAME=DIR."""
    task: list[Path]
    """JSON lines of {prompt or messages, choices, label, group}, or folders of them."""
    out: Path
    """Report to write."""
    form: PromptForm = "auto"
    """chat puts each row's messages through the model's chat template, plain uses its prompt; auto is chat where the
    model has a template and the rows have messages."""
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
    max_quarantined: float = MAX_QUARANTINED
    """Largest share of malformed rows."""
    seed: int = 0
    """Seed of the bootstrap."""
    overwrite: bool = False
    """Replace the report."""

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "num_resamples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
        if not self.task:
            raise ConfigError("expected at least one --task, got none; pass a file of choice rows.")


def bench(config: BenchConfig) -> Path:
    """Score every model, write the report and return its folder.

    Raises:
        ConfigError, InputError, ArtifactError: For flags, rows or models that cannot be used.
        Interrupted: If a signal asked to stop.
    """
    from eval.bench_figures import compare_choices, describe_balance
    from eval.bench_page import print_summary, write_page
    from eval.choice_tasks import read_rows
    from eval.output import write_json
    from eval.statistics import Resampling

    candidates = find_candidates(config.model, config.adapter_base, trust_remote_code=config.trust_remote_code)
    with publish(
        config.out,
        kind="report",
        config=config,
        inputs=_inputs(config, candidates),
        seed=config.seed,
        overwrite=config.overwrite,
    ) as draft:
        with kept_quarantine(draft) as quarantine:
            rows = read_rows(config.task, quarantine)
            quarantine.check(config.max_quarantined)
        started = time.monotonic()
        with stop_on_signal() as stop:
            scores = [_score(config, candidate, rows, stop) for candidate in candidates]
        resampling = Resampling(num_resamples=config.num_resamples, seed=config.seed)
        report: dict[str, Any] = {
            "task": task_name(config.task),
            "num_rows": len(rows),
            **compare_choices(rows, candidates, scores, resampling),
            "guessing": describe_balance(rows),
            "score": "summed log p(choice | prompt) of all its tokens; accuracy_per_char divides by its characters",
            "quarantined": dict(quarantine.counts),
            "num_resamples": config.num_resamples,
            "seconds": round(time.monotonic() - started, 3),
        }
        write_json(draft.folder / "report.json", report)
        _write_rows(draft.folder / "rows.jsonl", rows, candidates, scores)
        write_page(draft.folder / "report.html", report)
    print_summary(report)
    return config.out


def plan(config: BenchConfig) -> list[str]:
    """Return what would be scored, after checking the models, the rows and the output."""
    from eval.choice_tasks import read_rows
    from hanlm.quarantine import Quarantine

    refuse_existing(config.out, config.overwrite)
    candidates = find_candidates(config.model, config.adapter_base, trust_remote_code=config.trust_remote_code)
    rows = read_rows(config.task, Quarantine(None))
    return [
        f"score {len(candidates)} models: {', '.join(candidate.name for candidate in candidates)}",
        f"on {len(rows)} rows of {', '.join(map(str, config.task))}",
        f"write report.json, report.html and rows.jsonl to {config.out}",
    ]


def task_name(paths: Sequence[Path]) -> str:
    """Return a name for the task: those of its files, without their endings."""
    return ", ".join(path.name.partition(".json")[0] for path in paths)


def _score(config: BenchConfig, candidate: Candidate, rows: Sequence[ChoiceRow], stop: StopRequest) -> "ChoiceScores":
    import numpy as np

    from eval.bench_figures import ChoiceScores
    from eval.candidates import load_candidate, resolve_batch_tokens
    from eval.choice_tasks import choice_spans, fit_span, uses_chat
    from eval.scoring import score_spans

    batch_tokens = resolve_batch_tokens(config.batch_tokens, config.device)
    model, tokenizer = load_candidate(candidate, precision=config.precision, device=config.device)
    chat = uses_chat(tokenizer, rows, config.form)
    whole = list(choice_spans(tokenizer, rows, chat=chat))
    spans = [fit_span(span, candidate.max_length) for span in whole]
    log_likelihoods = np.zeros(len(spans))
    with progress(len(spans), f"scoring with {candidate.name}") as bar:
        for span, nll in score_spans(model, spans, batch_tokens=batch_tokens):
            log_likelihoods[span.owner] = -nll.sum()
            bar.advance()
            if stop.requested:
                raise Interrupted("stopped; nothing was written: run the same command again.")
    ends = np.cumsum([len(row.choices) for row in rows])
    num_cut = sum(span is not fitted for span, fitted in zip(whole, spans, strict=True))
    return ChoiceScores(log_likelihoods=np.split(log_likelihoods, ends[:-1]), chat=chat, num_cut=num_cut)


def _inputs(config: BenchConfig, candidates: Sequence[Candidate]) -> dict[str, Path]:
    models = {f"model:{c.name}": c.path for c in candidates}
    bases = {f"base:{c.name}": c.base for c in candidates if c.base is not None}
    return models | bases | {f"task:{i}": path for i, path in enumerate(config.task)}


def _write_rows(
    path: Path, rows: Sequence[ChoiceRow], candidates: Sequence[Candidate], scores: "Sequence[ChoiceScores]"
) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for i, row in enumerate(rows):
            likelihoods = {
                candidate.name: one.log_likelihoods[i].tolist()
                for candidate, one in zip(candidates, scores, strict=True)
            }
            record = {"prompt": row.prompt, "choices": row.choices, "label": row.label, "group": row.group}
            file.write(json.dumps(record | {"log_likelihoods": likelihoods}, ensure_ascii=False) + "\n")
