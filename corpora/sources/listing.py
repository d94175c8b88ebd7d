"""Which files a source names, in a fixed order, and what a folder holds besides."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from corpora.sources.formats import endings, format_of
from corpora.sources.known_sets import with_known_set
from corpora.sources.raw_file import named
from corpora.sources.source import Source
from hanlm.artifact import read_manifest
from hanlm.counts import by_reason
from hanlm.errors import InputError
from hanlm.records import document_files, is_report, is_visible

_STATE: Final = "state.json"
_SAVED: Final = frozenset({_STATE, "dataset_info.json", "dataset_dict.json"})
"""What ``datasets`` writes beside a saved data set's Arrow files."""


def list_source_files(source: Source) -> list[tuple[Path, str]]:
    """Return the files of a source and their names within it, sorted.

    Raises:
        InputError: If the path does not exist, is empty, or holds no file of a known format; or if a saved data set
            lacks one of its files.
        ArtifactError: If it is a damaged artifact.
    """
    path = source.path
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    if not path.is_dir():
        return [(_require_readable(path, source), named(path.name))]
    if read_manifest(path) is not None:
        files = document_files(path, "all")
    else:
        files = [file for file in _visible_files(path) if _is_wanted(file, path, source) and file.stat().st_size]
        for state in path.rglob(_STATE):
            _require_whole_data_set(state)
    if not files:
        raise InputError(f"{path} holds no non-empty file ending in {endings()}; pass a folder of texts.")
    return [(file, named(file.relative_to(path).as_posix())) for file in files]


def survey(source: Source) -> list[str]:
    """Say what would be read of a source, and what of its folder would not.

    Raises:
        ConfigError: If it names an unknown set.
        InputError: As ``list_source_files`` does.
    """
    source = with_known_set(source)
    if source.hub_name is not None:
        return [f"would stream {source.path}"]
    files = list_source_files(source)
    megabytes = sum(file.stat().st_size for file, _ in files) / 1e6
    lines = [f"would read {len(files)} files, {megabytes:.1f} MB, from {source.path}"]
    if left := passed_over(source):
        lines.append(f"would pass over files of {source.path} that are no text: {by_reason(left)}")
    return lines


def passed_over(source: Source) -> Counter[str]:
    """Return why files of a source's folder are not read: by ending, ``empty``, or ``linked folder``; how many each."""
    source = with_known_set(source)
    path = source.path
    counts: Counter[str] = Counter()
    if not path.is_dir() or read_manifest(path) is not None:
        return counts
    for file in path.rglob("*"):
        if not is_visible(file.relative_to(path)) or is_report(file) or (file.is_dir() and not file.is_symlink()):
            continue
        if file.is_dir():
            counts["linked folder"] += 1
        elif is_report(file) or _is_of_saved_set(file):
            continue
        elif not _is_wanted(file, path, source):
            counts[file.suffix.lower() or "no ending"] += 1
        elif not file.stat().st_size:
            counts["empty"] += 1
    return counts


def _require_readable(path: Path, source: Source) -> Path:
    if format_of(path.name, source.format) is None:
        raise InputError(
            f"expected a file ending in {endings()}, got {path}; convert it, or name its `format` in the source if it "
            "is one of these."
        )
    if not path.stat().st_size:
        raise InputError(f"{path} is empty; expected at least one record.")
    return path


def _visible_files(folder: Path) -> Iterator[Path]:
    files = (file for file in sorted(folder.rglob("*")) if is_visible(file.relative_to(folder)))
    return (file for file in files if file.is_file() and not is_report(file))


def _is_wanted(file: Path, folder: Path, source: Source) -> bool:
    if _is_of_saved_set(file) or is_report(file):
        return False
    return format_of(file.relative_to(folder).as_posix(), source.format) is not None


def _is_of_saved_set(file: Path) -> bool:
    """Say whether a file belongs to a saved data set without being its data."""
    saved = file.name in _SAVED or (file.suffix == ".arrow" and file.name.startswith("cache-"))
    return saved and any((file.parent / name).is_file() for name in (_STATE, "dataset_dict.json"))


def _require_whole_data_set(state: Path) -> None:
    try:
        listed = json.loads(state.read_text(encoding="utf-8")).get("_data_files", [])
        names = [str(entry["filename"]) for entry in listed]
    except (ValueError, AttributeError, KeyError, TypeError):
        return  # another program's state.json
    for name in names:
        if not (state.parent / name).is_file():
            raise InputError(f"the data set {state.parent} lacks its file {name}; save or copy it again.")
