"""The page of a finished run: its curves, what went wrong, what was decided, and where everything came from."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import yaml

from hanlm import plots
from hanlm.artifact import manifest_hash, read_manifest
from hanlm.config import to_plain
from hanlm.page import Card, Cell, Page
from hanlm.text import base_language
from pretrain.config import Phase, PretrainConfig
from pretrain.watching.report_facts import Curve, RunFacts, read_facts

_COLORS = tuple(f"var(--c{i})" for i in (1, 2, 3, 4, 5, 6, 7))
_LANGUAGES = {"zh": "Chinese", "en": "English", "code": "code"}
_MAX_NAMED = 60
_NOTABLE_RISE = 0.05  # of bits per byte, where no budget says what is too much
_DASH = "–"
_HASH_CHARS = 12


def write_report(
    path: Path, config: PretrainConfig, phases: Sequence[Phase], metrics: Path, record: Mapping[str, Any]
) -> None:
    """Write ``report.html`` of a finished run.

    Args:
        path: The page.
        config: The run's configuration.
        phases: Its phases, as they were done.
        metrics: Its ``metrics.jsonl``.
        record: What its manifest says: ``counts``, ``bits_per_byte``, ``train_seconds``.
    """
    facts = read_facts(metrics)
    page = Page(
        f"Pretraining of {config.out.name}",
        f"Continued pretraining of {config.model.name}: what it learnt, what it forgot, and what happened on the way.",
    )
    _add_headline(page, facts, record, config)
    page.section("Bits per byte")
    _add_bits(page, facts)
    page.section("Loss")
    _add_loss(page, facts, phases)
    page.section("Rates and gradient")
    _add_rates(page, facts)
    page.section("Speed and memory")
    _add_speed(page, facts)
    page.section("Events")
    _add_events(page, facts)
    page.section("What was trained on what")
    _add_lineage(page, config)
    page.section("Configuration")
    page.table(
        ["Trained", "Length", "Highest rate"],
        [[p.trainable.replace("_", " "), _length(p), f"{p.lr:g}"] for p in phases],
        caption="Phases",
    )
    page.details("All options", yaml.safe_dump(to_plain(config), allow_unicode=True, sort_keys=True))
    page.write(path)


def _add_headline(page: Page, facts: RunFacts, record: Mapping[str, Any], config: PretrainConfig) -> None:
    counts = record["counts"]
    hours = record["train_seconds"] / 3600
    time = f"{hours:,.1f} h" if hours >= 1 else f"{record['train_seconds']:,.0f} s"
    cards = [Card(label="Trained", value=f"{counts['tokens']:,}", note=f"tokens in {counts['steps']:,} steps, {time}")]
    budget = _NOTABLE_RISE if config.forgetting.max_increase is None else config.forgetting.max_increase
    for lang, (_, bits) in facts.validation_curves(lambda name: "/" not in name).items():
        change = bits[-1] / bits[0] - 1
        cards.append(
            Card(
                label=f"{_LANGUAGES.get(lang, lang)}, bits per byte",
                value=f"{bits[0]:.2f} → {bits[-1]:.2f}",
                note=f"{change:+.1%} on held-out text",
                tone="good" if change < 0 else "bad" if change > budget else "plain",
            )
        )
    speed, mfu = facts.middle("tokens_per_second"), facts.middle("mfu")
    if speed is not None:
        flops = facts.middle("tflops") or 0.0
        note = f"{_flops(flops)} each" + (f", {mfu:.0%} of its peak" if mfu is not None else "")
        cards.append(Card(label="Tokens a second", value=f"{speed:,.0f}", note=f"median; a process does {note}"))
    bad = sum(event["event"] != "forgetting" for event in facts.events)
    cards.append(
        Card(label="Steps that went wrong", value=f"{bad:,}", note="see Events", tone="bad" if bad else "good")
    )
    page.cards(cards)


def _flops(tflops: float) -> str:
    return f"{tflops:,.1f} TFLOP/s" if tflops >= 1 else f"{tflops * 1000:,.2f} GFLOP/s"


def _add_bits(page: Page, facts: RunFacts) -> None:
    page.paragraph(
        "Bits for each byte of text; lower is better. Unlike the loss of a token they can be compared between "
        "vocabularies. Validation scores whole held-out documents, the same each time; below it is the text that was "
        "trained on, each line over the steps since the one before."
    )
    held_out = facts.validation_curves(lambda name: "/" not in name)
    if held_out:
        page.figure(_texts(held_out, "bits per byte"), "Held-out text by language.")
    else:
        page.paragraph("This run was not validated (--eval-tokens 0, or the tokens hold no validation texts).")
    domains = facts.validation_curves(lambda name: "/" in name)
    if len(domains) > 1:
        page.figure(_texts(domains, "bits per byte"), "Held-out text by domain.")
    trained = facts.curves("train/")
    by_language = {name: curve for name, curve in trained.items() if "/" not in name}
    if by_language:
        page.figure(_texts(by_language, "bits per byte", points=False), "The text that was trained on, by language.")
    rows = [
        _domain_row(name, held_out | domains, trained) for name in sorted({*held_out, *domains, *trained}, key=_order)
    ]
    if rows:
        headers = ["Text", "Before", "After", "Change", "Best", "at step", "Trained on, last"]
        page.table(headers, rows, caption="Bits per byte of each language and domain")


def _domain_row(name: str, held_out: Mapping[str, Curve], trained: Mapping[str, Curve]) -> list[Cell]:
    last = trained[name][1][-1] if name in trained and trained[name][1] else None
    if name not in held_out:
        return [name, None, None, None, None, None, last]
    steps, bits = held_out[name]
    best = min(range(len(bits)), key=bits.__getitem__)
    return [name, bits[0], bits[-1], f"{bits[-1] / bits[0] - 1:+.1%}", bits[best], int(steps[best]), last]


def _add_loss(page: Page, facts: RunFacts, phases: Sequence[Phase]) -> None:
    page.paragraph("Nats a token, over all tokens of the batch: comparable within this run only.")
    figure = _lines({"loss": facts.curve("loss")}, "nats a token", points=False)
    border = 0
    for phase in phases[:-1]:
        border += phase.steps or 0
        if phase.steps:
            plots.mark(figure, border, phase.trainable.replace("_", " "))
    page.figure(figure, "Training loss." + (" Dotted: the end of a phase." if len(phases) > 1 else ""))
    by_language = {name: curve for name, curve in facts.curves("loss/").items() if "/" not in name}
    if len(by_language) > 1:
        page.figure(_texts(by_language, "nats a text token", points=False), "Training loss by language.")


def _add_rates(page: Page, facts: RunFacts) -> None:
    rates = {"highest": facts.curve("lr")} | facts.curves("lr/")
    page.figure(_lines(rates, "learning rate", points=False), "Learning rate of each group of weights.", height=300)
    page.figure(
        _lines({"norm": facts.curve("grad_norm")}, "gradient norm", points=False),
        "Norm of the gradient before clipping.",
        height=300,
    )


def _add_speed(page: Page, facts: RunFacts) -> None:
    page.figure(
        _lines({"tokens/s": facts.curve("tokens_per_second")}, "tokens a second", points=False),
        "Tokens a second of all processes; validation and saving do not count.",
        height=300,
    )
    mfu, memory = facts.middle("mfu"), facts.highest("peak_memory_bytes")
    known = f"{mfu:.1%}" if mfu is not None else "not known for this device and precision"
    tflops = facts.middle("tflops")
    page.table(
        ["Measure", "Value"],
        [
            ["Tokens a second, median", f"{facts.middle('tokens_per_second') or 0:,.0f}"],
            ["Arithmetic of one process, median", _flops(tflops) if tflops is not None else _DASH],
            ["Share of the device's peak (MFU)", known],
            ["Peak memory of the largest process", f"{memory / 2**30:,.2f} GiB" if memory is not None else _DASH],
        ],
        caption="Medians of all lines but the first",
    )


def _add_events(page: Page, facts: RunFacts) -> None:
    faults = [event for event in facts.events if event["event"] != "forgetting"]
    decisions = [event for event in facts.events if event["event"] == "forgetting"]
    if not faults:
        page.paragraph("No step had a gradient that was not finite, and no loss jumped.")
    else:
        kinds = {"bad_gradient": "gradient not finite", "spike": "loss jumped"}
        page.table(
            ["Step", "What", "Loss", "Limit", "Left out", "Worst sample"],
            [
                [
                    event["step"],
                    kinds.get(event["event"], event["event"]),
                    event["batch_loss"],
                    event["limit"],
                    "yes" if event["skipped"] else "no",
                    ", ".join(event["samples"][0]["documents"][:3]),
                ]
                for event in faults[:_MAX_NAMED]
            ],
            caption="Steps that went wrong",
        )
        page.details(
            "Documents of their batches, the worst samples first",
            "\n".join(_documents(event) for event in faults[:_MAX_NAMED]),
        )
    if len(faults) > _MAX_NAMED:
        page.paragraph(f"These are the first {_MAX_NAMED} of {len(faults):,}; metrics.jsonl has all.")
    if decisions:
        _add_forgetting(page, decisions)


def _documents(event: Mapping[str, Any]) -> str:
    samples = [
        f"  {_figure(sample['loss'])} {sample['set']}: {', '.join(sample['documents'])}" for sample in event["samples"]
    ]
    return "\n".join([f"step {event['step']}", *samples])


def _add_forgetting(page: Page, decisions: Sequence[Mapping[str, Any]]) -> None:
    lang = str(decisions[-1]["lang"])
    page.paragraph(
        f"There was a budget for {_LANGUAGES.get(lang, lang)}: at most {decisions[-1]['max_increase']:.1%} more bits "
        "per byte than before training. Where a validation was over it, the language's share of the data was raised."
    )
    steps = [float(event["step"]) for event in decisions]
    figure = _lines(
        {
            "increase": (steps, [100 * event["increase"] for event in decisions]),
            "budget": (steps, [100 * event["max_increase"] for event in decisions]),
            "share of the data": (steps, [100 * event["share"] for event in decisions]),
        },
        "%",
    )
    page.figure(figure, "Rise of its bits per byte, the budget, and its share of the data.")
    page.table(
        ["Step", "Bits per byte", "Increase", "Decision", "Share before", "Share after"],
        [
            [
                event["step"],
                float(event["bits_per_byte"]),
                f"{event['increase']:+.1%}",
                event["verdict"],
                f"{event['share_before']:.1%}",
                f"{event['share']:.1%}",
            ]
            for event in decisions
        ],
        caption="Decisions",
    )


def _add_lineage(page: Page, config: PretrainConfig) -> None:
    rows: list[list[Cell]] = []
    for name, path in (("base", config.model), *(("tokens", path) for path in config.tokens)):
        manifest = read_manifest(path)
        kind, digest = (manifest["kind"], manifest_hash(manifest)) if manifest else ("folder", _DASH)
        rows.append([name, str(path), kind, digest[:_HASH_CHARS]])
        for source, given in (manifest or {}).get("inputs", {}).items():
            rows.append([f"{name} ← {source}", str(given["path"]), _DASH, str(given["hash"])[:_HASH_CHARS]])
    page.table(["What", "Path", "Kind", "Hash"], rows, caption="Lineage: the inputs, and what they were made of")
    sets = [entry for path in config.tokens for entry in (read_manifest(path) or {}).get("datasets", [])]
    page.table(
        ["Set", "Language", "Domain", "Documents", "Tokens", "Bytes"],
        [
            [e["prefix"], e["lang"], e["domain"], e["num_documents"], e["num_tokens"], e["num_bytes"]]
            for e in sorted(sets, key=lambda e: (e["split"], e["prefix"]))
        ],
        caption="Texts",
    )


def _lines(series: Mapping[str, Curve], y_title: str, *, points: bool = True) -> Any:
    """Return curves over the steps, in turn in each colour."""
    colors = list(islice(cycle(_COLORS), len(series)))
    return plots.lines(series, x_title="steps", y_title=y_title, colors=colors, points=points)


def _texts(series: Mapping[str, Curve], y_title: str, *, points: bool = True) -> Any:
    """Return curves of languages or domains; a language has one colour on the whole page, its domains share it."""
    chosen = {name: series[name] for name in sorted(series, key=_order)}
    colors = [_COLORS[_order(name)[0] % len(_COLORS)] for name in chosen]
    return plots.lines(chosen, x_title="steps", y_title=y_title, colors=colors, points=points)


def _order(name: str) -> tuple[int, str]:
    """Return a language's place on the page, the same in each figure: known ones first."""
    lang = base_language(name.partition("/")[0])
    known = list(_LANGUAGES)
    place = known.index(lang) if lang in known else len(known) + sum(map(ord, lang)) % (len(_COLORS) - len(known))
    return place, name


def _length(phase: Phase) -> str:
    return f"{phase.steps:,} steps" if phase.steps else f"{phase.seconds:g} seconds"


def _figure(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}"
