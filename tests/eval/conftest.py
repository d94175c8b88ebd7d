"""The folder of a finished run, made of real artifacts with figures that are known in advance."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.bench_figures import ChoiceScores, compare_choices, describe_balance
from eval.candidates import Candidate
from eval.choice_tasks import ChoiceRow
from eval.document_scores import DocumentScores
from eval.ppl_figures import compare
from eval.statistics import Resampling
from hanlm.publish import publish
from hanlm.records import Document

RESAMPLING = Resampling(num_resamples=100, seed=0)

type Figures = dict[str, tuple[float, float, float, float]]
"""By model: nats per byte and tokens per character of Chinese, then of English."""
FIGURES: Figures = {
    "base": (3.6, 3.0, 1.2, 0.3),
    "extended": (3.4, 0.8, 1.2, 0.3),
    "pretrained": (1.5, 0.8, 1.25, 0.3),
    "control": (1.9, 3.0, 1.3, 0.3),
}


def candidate(name: str, folder: Path) -> Candidate:
    return Candidate(name=name, path=folder, base=None, tokenizer_path=folder, tokenizer_hash=name, max_length=None)


def ppl_report(folder: Path, figures: Figures) -> dict[str, Any]:
    documents = [Document(str(i), "好" * (i + 5), "reviews" if i % 2 else "news", "zh", "", "") for i in range(20)]
    documents += [Document(f"e{i}", "word " * (i + 5), "python_docs", "en", "", "") for i in range(20)]
    scores: list[DocumentScores] = []
    rng = np.random.default_rng(0)
    noise = 1 + 0.02 * rng.standard_normal(40)
    for zh, zh_tokens, en, en_tokens in figures.values():
        rates = [(zh, zh_tokens) if d.lang == "zh" else (en, en_tokens) for d in documents]
        scores.append(
            DocumentScores(
                nats=np.array([len(d.text.encode()) * r for d, (r, _) in zip(documents, rates, strict=True)]) * noise,
                num_tokens=np.array([round(len(d.text) * t) for d, (_, t) in zip(documents, rates, strict=True)]),
                num_unknown_tokens=0,
                num_changed_documents=0,
                documents_hash="0",
            )
        )
    return compare([candidate(name, folder) for name in figures], scores, documents, RESAMPLING)


def bench_report() -> dict[str, Any]:
    rows = [
        ChoiceRow(prompt="?", messages=None, choices=["好", "坏"], label=i % 2, group=f"t{i // 2 % 2}")
        for i in range(40)
    ]

    def scores(num_right: int) -> ChoiceScores:
        right = [i < num_right for i in range(40)]
        return ChoiceScores(
            log_likelihoods=[np.array([-1.0, -2.0][:: 1 if (i % 2 == 0) == ok else -1]) for i, ok in enumerate(right)],
            chat=False,
            num_cut=0,
        )

    models = [candidate(name, Path(name)) for name in ("before", "after")]
    figures = compare_choices(rows, models, [scores(20), scores(32)], RESAMPLING)
    return {"task": "choices", "num_rows": 40, "guessing": describe_balance(rows), **figures}


def vocab_report() -> dict[str, Any]:
    return {
        "num_base_tokens": 8000,
        "num_new_tokens": 3000,
        "tokens_per_char": {"reviews": {"base": 3.0, "extended": 0.8}},
        "size_curve": [{"num_new_tokens": n, "tokens_per_char": {"reviews": 3 - n / 1500}} for n in (1000, 2000, 3000)],
    }


def curve(start: float) -> str:
    lines = [{"step": 1, "loss": 3.0}]
    lines += [
        {"step": i, "elapsed_seconds": i * 10.0, "valid/zh": start - i, "valid/en": 1.8, "valid/zh/news": 1.0}
        for i in range(3)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def make_run(tmp_path: Path, tiny_tokenizer_folder: Path) -> Callable[..., Path]:
    """Build the folder of a finished run, with the stages named left out and some models' figures changed."""

    def make(
        *,
        without: frozenset[str] = frozenset(),
        changes: Figures | None = None,
        train_seconds: dict[str, float] | None = None,
    ) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        message = "<script>alert(1)</script>你好"
        chat = {"messages": [{"role": "user", "content": message}, {"role": "assistant", "content": "好"}]}
        files = {
            "extended": ("model", "vocab_report.json", json.dumps(vocab_report())),
            "pretrained": ("model", "metrics.jsonl", curve(5.0)),
            "control": ("model", "metrics.jsonl", curve(5.5)),
            "ppl": ("report", "report.json", json.dumps(ppl_report(tiny_tokenizer_folder, FIGURES | (changes or {})))),
            "bench": ("report", "report.json", json.dumps(bench_report())),
            "chat": ("report", "chat.json", json.dumps(chat | {"conversations": [chat]})),
        }
        trained = {"pretrained": 180.2, "control": 180.1} | (train_seconds or {})
        stages: dict[str, Any] = {"report": {"status": "started", "made_from": {}, "seconds": 0, "peak_rss_bytes": 0}}
        for name, (kind, file, content) in files.items():
            if name in without:
                continue
            with publish(run / name, kind=kind, config={}) as draft:
                (draft.folder / file).write_text(content, encoding="utf-8")
                draft.record(**({"train_seconds": trained[name]} if name in trained else {}))
            stages[name] = {
                "status": "done",
                "made_from": {"command": name},
                "seconds": 12.5,
                "peak_rss_bytes": 2**30,
                "out": str(run / name),
            }
        (run / "run.json").write_text(json.dumps({"recipe": "demo", "stages": stages}), encoding="utf-8")
        return run

    return make
