"""``hanlm report``: what a finished run shows, as a page, as JSON, and as a table on the terminal."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hanlm.errors import HanLMError
from hanlm.files import replace_text
from hanlm.locks import LOCK, refuse_held
from hanlm.publish import publish, refuse_existing

if TYPE_CHECKING:
    from eval.run_facts import Roles, RunFacts
    from eval.summary import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """Draw the report of a finished run, and write RUN/summary.json."""

    run: Annotated[Path, Parameter(help="Folder of a run: the --out of `hanlm run`.")] = field(kw_only=False)
    out: Path | None = None
    """Report to write; by default RUN/report."""
    base: str = "base"
    """Name of the unchanged base in the perplexity report."""
    extended: str = "extended"
    """Stage that extended the vocabulary, and its model's name in the perplexity report."""
    pretrained: str = "pretrained"
    """Stage of continued pretraining, and its model's name in the perplexity report."""
    control: str = "control"
    """Stage that trained without the extension, and its model's name in the perplexity report."""
    ppl: str = "ppl"
    """Stage of `hanlm ppl`."""
    bench: str = "bench"
    """Stage of `hanlm bench`."""
    before: str = "before"
    """Model of the bench report before instruction tuning."""
    after: str = "after"
    """Model of the bench report after instruction tuning."""
    chat: str = "chat"
    """Stage of `hanlm chat`."""
    sentence: str = "这家酒店的房间很干净，服务也很热情，下次来北京还会住这里。"
    """Sentence that the page shows cut into tokens."""
    strict: bool = False
    """Fail when a claim does not hold or was not measured; the report is written all the same."""
    seed: int = 0
    """Nothing is random here; recorded like every command's."""
    overwrite: bool = False
    """Replace the report."""


def report(config: ReportConfig) -> Path:
    """Write the report and the summary; return the report's folder.

    Raises:
        InputError: If RUN is not a run's folder, or holds nothing to report.
        ArtifactError: If `hanlm run` is still writing it, or an artifact in it was damaged.
        HanLMError: If ``strict`` and not every claim holds.
    """
    from eval.output import to_json, write_json
    from eval.run_page import write_page
    from eval.summary import judge, summarise

    out, roles = _out(config), _roles(config)
    facts = _gather(config.run, roles)
    summary = summarise(facts, roles, config.run, out)
    verdicts = judge(summary, facts, roles)
    inputs = _inputs(config.run, facts, roles)
    with publish(
        out, kind="report", config=config, inputs=inputs, seed=config.seed, overwrite=config.overwrite
    ) as draft:
        write_json(draft.folder / "report.json", _as_json(facts, summary, verdicts))
        write_page(draft.folder / "report.html", facts, roles, summary, verdicts, config.sentence)
        # Before the report is published: whoever stops between the two can run the same command again.
        replace_text(config.run / "summary.json", to_json(summary))
    _print(summary, verdicts, facts)
    _complain(verdicts, strict=config.strict)
    return out


def plan(config: ReportConfig) -> list[str]:
    """Return what would be written and which parts the report would lack."""
    refuse_existing(_out(config), config.overwrite)
    facts = _gather(config.run, _roles(config))
    return [f"write report.html and report.json to {_out(config)}, and {config.run / 'summary.json'}", *facts.missing]


def _gather(run: Path, roles: "Roles") -> "RunFacts":
    from eval.run_facts import gather

    refuse_held(run / LOCK, str(run))
    return gather(run, roles)


def _out(config: ReportConfig) -> Path:
    return config.run / "report" if config.out is None else config.out


def _roles(config: ReportConfig) -> "Roles":
    from eval.run_facts import Roles

    return Roles(**{role.name: getattr(config, role.name) for role in dataclasses.fields(Roles)})


def _inputs(run: Path, facts: "RunFacts", roles: "Roles") -> dict[str, Path]:
    read = (roles.ppl, roles.bench, roles.chat, roles.extended, roles.pretrained, roles.control)
    return {name: run / name for name in read if name in facts.stages and (run / name).exists()}


def _as_json(facts: "RunFacts", summary: Mapping[str, Any], verdicts: "list[Verdict]") -> dict[str, Any]:
    ppl = facts.ppl or {}
    return {
        "models": ppl.get("models", []),
        "differences": ppl.get("differences", []),
        "language_differences": ppl.get("language_differences", []),
        "tokens_per_char": summary["tokens_per_char"],
        "zh_bits_per_byte": summary["zh_bits_per_byte"],
        "en_bits_per_byte": summary["en_bits_per_byte"],
        "task": facts.bench,
        "chat": facts.conversations,
        "stages": facts.stages,
        "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        "missing": facts.missing,
    }


def _print(summary: Mapping[str, Any], verdicts: "list[Verdict]", facts: "RunFacts") -> None:
    from eval.output import print_table
    from hanlm.log import say

    rows: list[list[str]] = [
        [key.replace("_", " "), ", ".join(f"{name} {_shown(value)}" for name, value in summary[key].items())]
        for key in ("tokens_per_char", "zh_bits_per_byte", "en_bits_per_byte", "task_accuracy")
    ]
    rows.append(["seconds", f"{sum(summary['seconds'].values()):.0f} in all"])
    rows.append(["peak memory", f"{max(summary['peak_rss_bytes'].values(), default=0) / 2**30:.1f} GiB"])
    print_table("What this run shows", ["figure", "values"], rows)
    marks = {True: "yes", False: "NO", None: "?"}
    print_table("Claims", ["holds", "claim", "figures"], [[marks[v.passed], v.claim, v.figures] for v in verdicts])
    for sentence in facts.missing:
        say(sentence)


def _complain(verdicts: "list[Verdict]", *, strict: bool) -> None:
    from hanlm.log import say

    words = {False: "does not hold", None: "was not measured"}
    wanting = [f"{words[v.passed]}: {v.claim} ({v.figures})" for v in verdicts if not v.passed]
    for sentence in wanting:
        say(f"CLAIM {sentence}")
    if strict and wanting:
        raise HanLMError(
            f"expected all {len(verdicts)} claims of the run to hold, got {len(verdicts) - len(wanting)}: "
            f"{'; '.join(wanting)}. The report is written; mend the recipe, or leave out --strict."
        )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
