"""The headline figures of a run, and whether they show what the run set out to show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.output import bounds
from eval.run_facts import Roles, RunFacts

MIN_SHORTENING = 2.0
"""The extended vocabulary should write Chinese in at most half the tokens."""
MAX_SHARE_OF_UNTRAINED = 0.8
"""Chinese bits per byte of the trained model, as a share of those of the same model before its training. The base is
no measure: it may need more bits than random bytes do, which any new vocabulary mends without learning anything."""
MIN_SHARE_OF_SECONDS = 0.95
"""The control's seconds of training, as a share of the trained model's: clocks do not stop at the same step."""
MAX_ENGLISH_INCREASE = 0.10
"""Relative increase of English bits per byte that still counts as not forgotten."""
MIN_ACCURACY = 0.65
"""Accuracy on the balanced two-way task after instruction tuning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One claim about a run."""

    claim: str
    """What should hold."""
    passed: bool | None
    """Whether it does; None where a figure is missing."""
    figures: str
    """The figures it rests on."""


def summarise(facts: RunFacts, roles: Roles, run: Path, report: Path) -> dict[str, Any]:
    """Return the content of ``summary.json``; a figure whose stage is missing is None."""
    zh = {name: facts.language(getattr(roles, name), "zh") for name in ("base", "extended", "pretrained", "control")}
    en = {name: facts.language(getattr(roles, name), "en") for name in ("base", "pretrained")}
    outs = {name: str(run / name if (run / name).exists() else stage["out"]) for name, stage in facts.stages.items()}
    return {
        "tokens_per_char": {name: _get(zh[name], "tokens_per_char") for name in ("base", "extended")},
        "zh_bits_per_byte": {name: _get(figures, "bits_per_byte") for name, figures in zh.items()},
        "en_bits_per_byte": {name: _get(figures, "bits_per_byte") for name, figures in en.items()},
        "task_accuracy": {"before": facts.accuracy(roles.before), "after": facts.accuracy(roles.after)},
        "train_seconds": {name: facts.train_seconds.get(getattr(roles, name)) for name in ("pretrained", "control")},
        "seconds": {name: stage["seconds"] for name, stage in facts.stages.items()},
        "peak_rss_bytes": {name: stage["peak_rss_bytes"] for name, stage in facts.stages.items()},
        "artifacts": {**outs, "report": str(report)},
    }


def judge(summary: dict[str, Any], facts: RunFacts, roles: Roles) -> list[Verdict]:
    """Return the claims of a run with the figures they rest on."""
    tokens, zh, en = summary["tokens_per_char"], summary["zh_bits_per_byte"], summary["en_bits_per_byte"]
    accuracy, seconds = summary["task_accuracy"], summary["train_seconds"]
    from_control = _interval(facts, roles.control, roles.pretrained)
    from_untrained = _interval(facts, roles.extended, roles.pretrained)
    return [
        _verdict(
            "Chinese takes at most half the tokens",
            lambda: tokens["extended"] * MIN_SHORTENING <= tokens["base"],
            lambda: f"{tokens['base']:.2f} → {tokens['extended']:.2f} tokens per character",
        ),
        _verdict(
            "Chinese: better than the control, which trained at least as long without the extension",
            lambda: from_control[1] < 0 and seconds["control"] >= MIN_SHARE_OF_SECONDS * seconds["pretrained"],
            lambda: (
                f"{zh['control']:.3f} → {zh['pretrained']:.3f} bits per byte; difference "
                f"{bounds(from_control, sign='+')}; {seconds['control']:.0f} s of training against "
                f"{seconds['pretrained']:.0f} s"
            ),
        ),
        _verdict(
            f"Chinese: at least {1 - MAX_SHARE_OF_UNTRAINED:.0%} fewer bits than before training",
            lambda: from_untrained[1] < 0 and zh["pretrained"] <= MAX_SHARE_OF_UNTRAINED * zh["extended"],
            lambda: (
                f"{zh['extended']:.3f} → {zh['pretrained']:.3f} bits per byte "
                f"({zh['pretrained'] / zh['extended'] - 1:+.1%}); difference {bounds(from_untrained, sign='+')}"
            ),
        ),
        _verdict(
            f"English: at most {MAX_ENGLISH_INCREASE:.0%} worse",
            lambda: en["pretrained"] <= (1 + MAX_ENGLISH_INCREASE) * en["base"],
            lambda: (
                f"{en['base']:.3f} → {en['pretrained']:.3f} bits per byte ({en['pretrained'] / en['base'] - 1:+.1%})"
            ),
        ),
        _verdict(
            f"Task: at least {MIN_ACCURACY:.0%} right after instruction tuning",
            lambda: accuracy["after"] >= MIN_ACCURACY,
            lambda: f"{accuracy['before']:.1%} → {accuracy['after']:.1%}",
        ),
    ]


def _interval(facts: RunFacts, a: str, b: str) -> Any:
    """Return the paired interval of the Chinese difference, ``b`` minus ``a``; None where it was not measured."""
    found = facts.difference(a, b, "zh")
    return None if found is None else found["ci95"]


def _verdict(claim: str, holds: Any, figures: Any) -> Verdict:
    try:
        return Verdict(claim=claim, passed=bool(holds()), figures=figures())
    except TypeError:  # a figure is None: its stage is missing
        return Verdict(claim=claim, passed=None, figures="not measured in this run")


def _get(figures: dict[str, Any] | None, key: str) -> float | None:
    return None if figures is None else float(figures[key])
