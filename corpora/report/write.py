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
from corpora.report.page import corpus_page
from corpora.steps.samples import read_samples

REPORT_JSON: Final = "report.json"
REPORT_HTML: Final = "report.html"


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
