"""``hanlm tasks``: labelled text and templates in, instructions to train on and choices to test with out."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlm.counts import by_reason
from hanlm.errors import ConfigError, InputError
from hanlm.json_lines import numbered_json_lines
from hanlm.log import say
from hanlm.publish import publish, refuse_existing
from hanlm.quarantine import MAX_QUARANTINED, Quarantine, kept_quarantine
from hanlm.records import list_files
from hanlm.text import content_digest, normalise
from sft.formats import SUFFIXES
from sft.templates import Template, read_templates


@dataclass(frozen=True, kw_only=True, slots=True)
class TasksConfig:
    """Turn labelled text into instructions to train on and forced choices to test with."""

    templates: Path
    """YAML file: templates with name, instruction, input and an answer for each label."""
    out: Path
    """Where to write `instructions.jsonl` and `choices.jsonl`."""
    train: tuple[Path, ...] = ()
    """JSON lines of {text, label} to make instructions of."""
    heldout: tuple[Path, ...] = ()
    """JSON lines of {text, label} to make choices of; texts that are also in --train are left out."""
    max_rows: int | None = None
    """At most so many texts of --train, as many of each label."""
    max_heldout_rows: int | None = None
    """At most so many texts of --heldout, as many of each label."""
    max_chars: int = 0
    """Leave out longer texts; 0 for no limit."""
    templates_per_row: int = 1
    """Through how many templates, drawn by the seed, each training text goes."""
    max_quarantined: float = MAX_QUARANTINED
    """Share of malformed rows above which the run fails."""
    seed: int = 0
    """Decides which texts, which templates, and the order."""
    overwrite: bool = False
    """Replace a finished OUT."""

    def __post_init__(self) -> None:
        if not self.train and not self.heldout:
            raise ConfigError("pass --train, --heldout or both, got neither.")
        for name in ("max_rows", "max_heldout_rows"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise ConfigError(f"{name} should be at least 2, one a label, got {value}.")
        if self.templates_per_row < 1:
            raise ConfigError(f"templates_per_row should be at least 1, got {self.templates_per_row}.")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its label."""

    text: str
    label: str


def plan(config: TasksConfig) -> list[str]:
    """Check the inputs cheaply and say what a run would do."""
    templates = read_templates(config.templates)
    refuse_existing(config.out, config.overwrite)
    lines = [f"{len(templates)} templates over the labels {', '.join(templates[0].labels)}"]
    for name, paths in (("instructions.jsonl", config.train), ("choices.jsonl", config.heldout)):
        if paths:
            lines.append(f"writes {config.out / name} from {len(list_files(paths, suffixes=SUFFIXES))} files")
    return lines


def tasks(config: TasksConfig) -> Path:
    """Write the instructions and choices; return OUT.

    Raises:
        InputError: If rows are malformed beyond the limit, or a label has no text.
    """
    plan(config)
    templates = read_templates(config.templates)
    if config.templates_per_row > len(templates):
        raise ConfigError(f"templates_per_row should be at most the {len(templates)} templates there are.")
    named = {f"{kind}-{i}": p for kind in ("train", "heldout") for i, p in enumerate(getattr(config, kind))}
    inputs = {"templates": config.templates, **named}
    with publish(
        config.out, kind="dataset", config=config, inputs=inputs, seed=config.seed, overwrite=config.overwrite
    ) as draft:
        with kept_quarantine(draft) as quarantine:
            labels, dropped = list(templates[0].labels), Counter[str]()
            train = _labelled(config.train, labels, config, quarantine, dropped)
            heldout = _labelled(config.heldout, labels, config, quarantine, dropped)
            quarantine.check(config.max_quarantined)
        seen = {_identity(row) for row in train}
        fresh = [row for row in heldout if _identity(row) not in seen]
        draw = random.Random(config.seed)
        counts: dict[str, Any] = {"texts_in": quarantine.num_seen, "quarantined": dict(quarantine.counts)}
        dropped["seen_in_train"] = len(heldout) - len(fresh)
        if config.train:
            chosen = _balanced(train, labels, config.max_rows, draw)
            _write(draft.folder / "instructions.jsonl", _instructions(chosen, templates, config, draw))
            dropped["beyond_balance"] += len(train) - len(chosen)
            counts |= {"train_texts": len(chosen), "train_labels": _of_each(chosen, labels)}
        if config.heldout:
            tested = _balanced(fresh, labels, config.max_heldout_rows, draw)
            _write(draft.folder / "choices.jsonl", _choices(tested, templates))
            dropped["beyond_balance"] += len(fresh) - len(tested)
            counts |= {"heldout_texts": len(tested), "heldout_labels": _of_each(tested, labels)}
        counts |= {"dropped": dict(+dropped)}
        draft.record(counts=counts)
        say(_summary(counts))
    return config.out


def _of_each(rows: Sequence[Labelled], labels: Sequence[str]) -> dict[str, int]:
    return {label: sum(row.label == label for row in rows) for label in labels}


def _summary(counts: Mapping[str, Any]) -> str:
    """Return one line for the user: what became of the texts."""
    kept = [
        f"{by_reason(counts[f'{part}_labels'])} kept for {part}"
        for part in ("train", "heldout")
        if f"{part}_labels" in counts
    ]
    lost = [f"{by_reason(counts[what])} {what}" for what in ("dropped", "quarantined")]
    return ", ".join([f"texts: {counts['texts_in']:,} in", *kept, *lost])


def _labelled(
    paths: Sequence[Path], labels: Sequence[str], config: TasksConfig, quarantine: Quarantine, dropped: Counter[str]
) -> list[Labelled]:
    """Read the rows, each distinct text once; rows with an unknown label or a blank text go to the quarantine."""
    rows: dict[bytes, Labelled] = {}
    for file in list_files(paths, suffixes=SUFFIXES) if paths else []:
        for number, record in numbered_json_lines(file, quarantine, required=("text", "label")):
            text, label = record["text"], str(record["label"])
            reason = _problem(text, label, labels)
            if reason:
                quarantine.add(reason, file, number, json.dumps(record, ensure_ascii=False).encode("utf-8", "replace"))
            elif config.max_chars and len(text.strip()) > config.max_chars:
                dropped["too_long"] += 1
            else:
                row = Labelled(text.strip(), label)
                dropped["duplicate"] += rows.setdefault(_identity(row), row) is not row
    return list(rows.values())


def _problem(text: object, label: str, labels: Sequence[str]) -> str | None:
    if not isinstance(text, str):
        return "wrong_type"
    if not text.strip():
        return "blank_text"
    return None if label in labels else "unknown_label"


def _identity(row: Labelled) -> bytes:
    return content_digest(normalise(row.text))


def _balanced(
    rows: Sequence[Labelled], labels: Sequence[str], max_rows: int | None, draw: random.Random
) -> list[Labelled]:
    """Draw as many rows of each label as the rarest has, or as ``max_rows`` allows; shuffled."""
    by_label: defaultdict[str, list[Labelled]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    if empty := [label for label in labels if not by_label[label]]:
        raise InputError(f"expected texts of every label, got none of {', '.join(empty)}; add some or mend the labels.")
    size = min(len(by_label[label]) for label in labels)
    if max_rows is not None:
        size = min(size, max_rows // len(labels))
    chosen = [row for label in labels for row in draw.sample(by_label[label], size)]
    draw.shuffle(chosen)
    return chosen


def _instructions(
    rows: Sequence[Labelled], templates: Sequence[Template], config: TasksConfig, draw: random.Random
) -> list[dict[str, Any]]:
    """Ask each text through templates drawn for it; shuffled."""
    asked: list[dict[str, Any]] = []
    for row in rows:
        for template in draw.sample(templates, config.templates_per_row):
            asked.append({**template.instruction_row(row.text, row.label)})
    draw.shuffle(asked)
    return asked


def _choices(rows: Sequence[Labelled], templates: Sequence[Template]) -> list[dict[str, Any]]:
    """Ask the texts through the templates in turn within each label, so that every template is balanced too."""
    turn: defaultdict[str, int] = defaultdict(int)
    asked: list[dict[str, Any]] = []
    for row in rows:
        asked.append(templates[turn[row.label] % len(templates)].choice_row(row.text, row.label))
        turn[row.label] += 1
    return asked


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
