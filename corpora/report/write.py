"""Writing the corpus report into a corpus: ``report.json`` for programs, ``report.html`` for people.

Both hold what the documents and the configuration decide and nothing else (no times, machines or paths): their hashes
are part of the corpus' hash.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from corpora.funnel import Funnel
from corpora.report.figures import Mask, Sample, report_figures
from corpora.report.kept_copies import with_copies
from corpora.report.page import corpus_page
from corpora.report.set_aside import first_contaminated, first_quarantined
from corpora.report.tokens import tokens_per_char
from corpora.steps.contamination import CONTAMINATED
from corpora.steps.samples import read_samples
from hanlm.quarantine import QUARANTINE

REPORT_JSON: Final = "report.json"
REPORT_HTML: Final = "report.html"


def report_build(
    out: Path,
    funnel: Funnel,
    *,
    build: Path,
    roots: Sequence[Path],
    mask: Mask | None = None,
    tokenizer: Path | None = None,
) -> None:
    """Write the report of a build whose shards are in ``out``, while its working folder is still there.

    Args:
        out: Folder of the corpus.
        funnel: The counts of all steps.
        build: The working folder, with ``stages``, ``parts`` and, above it, the list of the quarantine.
        roots: The paths of the sources.
        mask: Hides personal data, where the corpus is masked.
        tokenizer: Folder of the tokenizer to count tokens per character with.
    """
    samples = samples_by_step(build / "stages" / name for name in ("read", "write"))
    samples = with_copies(samples, build / "parts")
    write_report(
        out,
        funnel,
        samples,
        quarantined=first_quarantined(build.parent / QUARANTINE, roots),
        contaminated=first_contaminated(out / CONTAMINATED),
        tokens_per_char=tokens_per_char(tokenizer, samples.get("kept", {})) if tokenizer else None,
        mask=mask,
    )


def write_report(
    folder: Path,
    funnel: Funnel,
    samples: Mapping[str, Mapping[str, Sequence[Sample]]],
    *,
    quarantined: Sequence[Mapping[str, Any]] = (),
    contaminated: Sequence[Mapping[str, Any]] = (),
    tokens_per_char: Mapping[str, Any] | None = None,
    mask: Mask | None = None,
) -> None:
    """Write ``report.json`` and ``report.html`` into ``folder``; see ``report_figures`` for the arguments."""
    figures = report_figures(
        funnel,
        samples,
        quarantined=quarantined,
        contaminated=contaminated,
        tokens_per_char=tokens_per_char,
        mask=mask,
    )
    text = json.dumps(figures, ensure_ascii=False, indent=1) + "\n"
    (folder / REPORT_JSON).write_text(text, encoding="utf-8", errors="replace", newline="\n")
    corpus_page(figures).write(folder / REPORT_HTML)


def samples_by_step(stages: Iterable[Path]) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples that the steps of these stages (their folders) wrote, by step and kind."""
    folders = (folder for stage in stages for folder in sorted((stage / "samples").glob("*")) if folder.is_dir())
    return {folder.name: read_samples(folder) for folder in folders}
