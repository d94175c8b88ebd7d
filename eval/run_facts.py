"""What a finished run left behind, gathered from its artifacts; a part that is missing is named, not guessed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from hanlm.artifact import open_artifact, read_manifest
from hanlm.errors import ArtifactError, InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Which stage of a run, and which model of its reports, plays which part."""

    base: str
    """The unchanged base's name in the perplexity report."""
    extended: str
    """Stage and model: vocabulary extended, not trained."""
    pretrained: str
    """Stage and model: extended and trained."""
    control: str
    """Stage and model: trained without the extension."""
    ppl: str
    """Stage: bits per byte."""
    bench: str
    """Stage: the labelled task."""
    before: str
    """Model of the task's report before instruction tuning."""
    after: str
    """Model of the task's report after it."""
    chat: str
    """Stage: conversations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """Everything the report tells; a part whose stage is missing is None or empty."""

    stages: dict[str, dict[str, Any]]
    """By stage: command, seconds, peak_rss_bytes, out."""
    ppl: dict[str, Any] | None
    """The perplexity report."""
    bench: dict[str, Any] | None
    """The report of the labelled task."""
    vocab: dict[str, Any] | None
    """``vocab_report.json`` of the extended model."""
    curves: dict[str, list[dict[str, float]]]
    """By stage, its validations: elapsed_seconds and valid/LANG."""
    train_seconds: dict[str, float]
    """By stage that trained, the seconds it spent on steps."""
    num_parameters: int | None
    """Of the trained model."""
    conversations: list[list[dict[str, str]]]
    """What was said."""
    missing: list[str] = field(default_factory=list[str])
    """One sentence for each part that is not there."""

    def model(self, name: str) -> dict[str, Any] | None:
        """Return a model's entry in the perplexity report."""
        return next((m for m in (self.ppl or {}).get("models", []) if m["name"] == name), None)

    def language(self, name: str, lang: str) -> dict[str, Any] | None:
        """Return a model's figures on one language."""
        model = self.model(name)
        return None if model is None else model["languages"].get(lang)

    def accuracy(self, name: str) -> float | None:
        """Return a model's accuracy on the labelled task."""
        models = (self.bench or {}).get("models", [])
        return next((model["accuracy"] for model in models if model["name"] == name), None)

    def difference(self, a: str, b: str, lang: str) -> dict[str, Any] | None:
        """Return the paired difference of bits per byte, ``b`` minus ``a``, on one language."""
        for one in (self.ppl or {}).get("language_differences", []):
            if one["lang"] == lang and {one["a"], one["b"]} == {a, b}:
                return one if one["a"] == a else _turned(one)
        return None


def gather(run: Path, roles: Roles) -> RunFacts:
    """Read a run's folder.

    Raises:
        InputError: If it is not the folder of a run, or holds nothing that could be told.
        ArtifactError: If an artifact in it was damaged.
    """
    stages = _stages(run)
    missing: list[str] = []

    def read(stage: str, file: str, kind: str, what: str) -> dict[str, Any] | None:
        found = _read_json(run, stages, stage, file, kind)
        if found is None:
            missing.append(f"{what} is missing: the stage {stage!r} of this run has not written {file}.")
        return found

    trained = (roles.pretrained, roles.control)
    facts = RunFacts(
        stages=stages,
        ppl=read(roles.ppl, "report.json", "report", "Bits per byte"),
        bench=read(roles.bench, "report.json", "report", "The labelled task"),
        vocab=read(roles.extended, "vocab_report.json", "model", "The report of the vocabulary"),
        curves=_curves(run, stages, trained, missing),
        train_seconds=_train_seconds(run, stages, trained),
        num_parameters=_num_parameters(_place(run, stages, roles.pretrained)),
        conversations=_conversations(read(roles.chat, "chat.json", "report", "The conversation")),
        missing=missing,
    )
    if not (facts.ppl or facts.bench or facts.vocab or facts.curves or facts.conversations):
        raise InputError(
            f"{run} holds nothing to report: none of its finished stages ({', '.join(stages) or 'none'}) is called "
            f"{', '.join((roles.extended, *trained, roles.ppl, roles.bench, roles.chat))}; run those, or name yours, "
            "such as --ppl STAGE."
        )
    for name in (roles.base, roles.extended, roles.pretrained, roles.control):
        if facts.ppl is not None and facts.model(name) is None:
            missing.append(f"The report of stage {roles.ppl!r} has no model called {name!r}.")
    for name in (roles.before, roles.after):
        if facts.bench is not None and facts.accuracy(name) is None:
            missing.append(f"The report of stage {roles.bench!r} has no model called {name!r}.")
    return facts


def _stages(run: Path) -> dict[str, dict[str, Any]]:
    path = run / "run.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError:
        raise InputError(f"{run} is no run: run.json is missing; pass the --out of `hanlm run`.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is corrupt ({error}); run the recipe again.") from None
    return {
        name: {
            "command": entry.get("made_from", {}).get("command", ""),
            "seconds": entry["seconds"],
            "peak_rss_bytes": entry["peak_rss_bytes"],
            "out": entry["out"],
        }
        for name, entry in entries.items()
        if entry.get("status") == "done"
    }


def _place(run: Path, stages: Mapping[str, Mapping[str, Any]], stage: str) -> Path | None:
    """Return a finished stage's artifact: in the run's folder, which may have been moved, else where it was written."""
    if stage not in stages:
        return None
    return next((p for p in (run / stage, Path(stages[stage]["out"])) if read_manifest(p) is not None), None)


def _read_json(
    run: Path, stages: Mapping[str, Mapping[str, Any]], stage: str, file: str, kind: str
) -> dict[str, Any] | None:
    place = _place(run, stages, stage)
    if place is None:
        return None
    open_artifact(place, kind, verify=kind == "report")  # models are large, and only a table beside them is read
    try:
        value = json.loads((place / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ArtifactError(f"{place / file} is not valid JSON ({error}); run the recipe again.") from None
    return value


def _curves(
    run: Path, stages: Mapping[str, Mapping[str, Any]], names: Iterable[str], missing: list[str]
) -> dict[str, list[dict[str, float]]]:
    curves: dict[str, list[dict[str, float]]] = {}
    for name in names:
        place = _place(run, stages, name)
        path = place / "metrics.jsonl" if place else None
        if path is None or not path.is_file():
            missing.append(f"The training curve of {name!r} is missing: that stage has written no metrics.jsonl.")
            continue
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        curves[name] = [one for one in lines if any(key.startswith("valid/") for key in one)]
    return curves


def _train_seconds(run: Path, stages: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    manifests = {name: read_manifest(place) for name in names if (place := _place(run, stages, name)) is not None}
    found = {name: (manifest or {}).get("train_seconds") for name, manifest in manifests.items()}
    return {name: float(seconds) for name, seconds in found.items() if isinstance(seconds, int | float)}


def _num_parameters(model: Path | None) -> int | None:
    """Return how many numbers a model's weights hold, read from their headers."""
    from safetensors import safe_open

    total = 0
    for shard in sorted(model.glob("*.safetensors")) if model else ():
        with safe_open(shard, framework="numpy") as weights:
            total += sum(prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118
    return total or None


def _conversations(chat: Mapping[str, Any] | None) -> list[list[dict[str, str]]]:
    if chat is None:
        return []
    return [one["messages"] for one in chat.get("conversations", [chat])]


def _turned(difference: Mapping[str, Any]) -> dict[str, Any]:
    ci95 = difference["ci95"]
    return {
        "a": difference["b"],
        "b": difference["a"],
        "lang": difference["lang"],
        "bits_per_byte": -difference["bits_per_byte"],
        "ci95": None if ci95 is None else [-ci95[1], -ci95[0]],
    }
