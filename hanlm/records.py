"""Documents out of text files, JSON lines, folders and corpus artifacts, read strictly in bounded memory.

A bad record is quarantined and its neighbours are kept. Every reader takes a ``Quarantine`` and adds each
record it meets to ``num_seen``. Reasons: ``invalid_utf8``, ``malformed_json``, ``not_an_object``,
``missing_field``, ``null_field``, ``wrong_type``, ``lone_surrogate``, ``too_long``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hanlm.arrow_rows import numbered_parquet_rows
from hanlm.artifact import MANIFEST, open_artifact, read_manifest
from hanlm.errors import InputError
from hanlm.json_lines import numbered_json_lines, read_json_lines
from hanlm.quarantine import MAX_QUARANTINED, Quarantine
from hanlm.streams import COMPRESSIONS
from hanlm.text_lines import TxtUnit, read_texts

__all__ = [
    "DOCUMENT_SUFFIXES",
    "MAX_QUARANTINED",
    "Document",
    "Quarantine",
    "TxtUnit",
    "list_files",
    "read_documents",
    "read_json_lines",
]

JSON_SUFFIXES: Final = tuple(ending + packing for ending in (".jsonl", ".json") for packing in COMPRESSIONS)
TEXT_SUFFIXES: Final = tuple(ending + packing for ending in (".txt", ".md") for packing in COMPRESSIONS)
PARQUET_SUFFIXES: Final = (".parquet",)
DOCUMENT_SUFFIXES: Final = JSON_SUFFIXES + TEXT_SUFFIXES + PARQUET_SUFFIXES

LINES_PER_GROUP: Final = 1000
"""Lines of one text file that form a group, where a line or a paragraph is a document."""

_NOT_DATA = (MANIFEST, "quarantine.jsonl")
_REPORTS = ("report.json", "report.html")


@dataclass(frozen=True, slots=True)
class Document:
    """One text with what is known about it; unknown is an empty string."""

    id: str
    text: str
    domain: str
    lang: str
    source: str
    license: str
    group: str = ""
    """Documents of one group (a book, a page, neighbouring lines of one file) go to one side of a split."""


def list_files(paths: Sequence[Path], suffixes: Sequence[str] = DOCUMENT_SUFFIXES) -> list[Path]:
    """Return the files named, and those in the folders named, in sorted order within each folder.

    In a folder, hidden files, working folders, manifests and quarantine files are passed over. A file that is
    named itself must have one of the suffixes.

    Raises:
        InputError: If a path does not exist, a file has another suffix or no bytes, or a folder holds none.
    """
    return [file for path in paths for file in _files_of(path, tuple(suffixes))]


def passed_over(paths: Sequence[Path], suffixes: Sequence[str] = DOCUMENT_SUFFIXES) -> Counter[str]:
    """Return why files of the folders named are not read: by ending, ``empty``, or ``linked folder``; how many of each.

    Hidden files and what HanLM itself wrote are no data, and not counted.
    """
    counts: Counter[str] = Counter()
    for folder in (path for path in paths if path.is_dir() and read_manifest(path) is None):
        for file in (file for file in folder.rglob("*") if not is_report(file)):
            if (file.is_dir() and not file.is_symlink()) or not is_visible(file.relative_to(folder)):
                continue
            if file.is_dir():
                counts["linked folder"] += 1
            elif not file.name.lower().endswith(tuple(suffixes)):
                counts[file.suffix.lower() or "no ending"] += 1
            elif not file.stat().st_size:
                counts["empty"] += 1
    return counts


def read_documents(
    paths: Sequence[Path],
    quarantine: Quarantine,
    *,
    txt_unit: TxtUnit = "file",
    domain: str | None = None,
    lang: str | None = None,
    split: Literal["train", "valid", "all"] = "train",
) -> Iterator[Document]:
    """Yield the documents of text files, JSON lines, folders of them, and corpus artifacts, in a fixed order.

    Args:
        paths: Files, folders, or artifacts (verified; of a corpus only the ``split`` is read).
        quarantine: Takes the unreadable records. Lines of text files count as records.
        txt_unit: What is one document in a text file.
        domain: Given to documents that name no domain of their own; else they are of domain "default".
        lang: Given to documents that name no language of their own.
        split: Which documents of a corpus artifact to read.

    Raises:
        InputError: If a path is missing or empty, a file is truncated, or one document would be too large.
        ArtifactError: If a corpus artifact is damaged.
    """
    for path in paths:
        for file in document_files(path, split):
            # Within its folder: two files may have one name, and an id should tell them apart.
            source = file.relative_to(path).as_posix() if file != path else file.name
            if file.name.lower().endswith(JSON_SUFFIXES + PARQUET_SUFFIXES):
                yield from _record_documents(file, source, quarantine, domain or "default", lang or "")
            else:
                for number, text in read_texts(file, quarantine, txt_unit):
                    name = source if txt_unit == "file" else f"{source}:{number}"
                    group = "" if txt_unit == "file" else block_of_lines(source, number)
                    yield Document(name, text, domain or "default", lang or "", source, "", group)


def _files_of(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    known = ", ".join(suffixes)
    if path.is_dir():
        own = sorted(file for file in path.rglob("*") if not is_report(file))
        found = [file for file in own if _is_data(file.relative_to(path), suffixes)]
        files = [file for file in found if file.is_file() and file.stat().st_size]
        if not files:
            raise InputError(f"{path} holds no non-empty file ending in {known}; pass a folder of texts.")
        return files
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path.")
    if not path.name.lower().endswith(suffixes):
        raise InputError(f"expected a file ending in {known}, got {path}; convert or rename it.")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty; expected at least one record.")
    return [path]


def _is_data(relative: Path, suffixes: tuple[str, ...]) -> bool:
    return is_visible(relative) and relative.name.lower().endswith(suffixes)


def is_visible(relative: Path) -> bool:
    """Say whether a file of this path within a folder may be data: not hidden, and not HanLM's own."""
    hidden = any(part.startswith(".") or part.endswith(".work") for part in relative.parts)
    return not hidden and relative.name not in _NOT_DATA


def is_report(file: Path) -> bool:
    """Say whether a file is what HanLM reports of an artifact; a ``report.json`` anywhere else may be data."""
    return file.name in _REPORTS and (file.parent / MANIFEST).is_file()


def block_of_lines(source: str, number: int) -> str:
    """Return the group of a line: neighbouring lines of one file are likely of one text."""
    return f"{source}:{number // LINES_PER_GROUP}"


def document_files(path: Path, split: str) -> list[Path]:
    """Return the files of a file, a folder, or an artifact (which is verified; of a corpus those of the split).

    Raises:
        InputError: If there is none, or the artifact holds no text.
        ArtifactError: If the artifact is damaged.
    """
    manifest = read_manifest(path) if path.is_dir() else None
    if manifest is None:
        return list_files([path])
    if manifest["kind"] not in ("corpus", "dataset"):
        raise InputError(f"expected texts or a corpus at {path}, got a {manifest['kind']}; check the path.")
    open_artifact(path, manifest["kind"])
    if manifest["kind"] == "dataset" or split == "all":
        return list_files([path])
    files = sorted(path / name for name in manifest["files"] if name.startswith(f"{split}-"))
    if not files:
        raise InputError(f"the corpus {path} has no {split} documents; build it with another --valid-fraction.")
    return files


def _record_documents(path: Path, source: str, quarantine: Quarantine, domain: str, lang: str) -> Iterator[Document]:
    stem = source.removesuffix(path.name) + path.name.partition(".")[0]
    rows = numbered_parquet_rows if path.name.lower().endswith(PARQUET_SUFFIXES) else numbered_json_lines
    for number, record in rows(path, quarantine, ("text",)):
        text = record["text"]
        if not isinstance(text, str):
            quarantine.add("wrong_type", path, number, repr(text).encode())
            continue
        yield Document(
            id=_label(record, "id") or f"{stem}:{number}",
            text=text,
            domain=_label(record, "domain") or domain,
            lang=_label(record, "lang") or lang,
            source=_label(record, "source") or source,
            license=_label(record, "license"),
            group=_label(record, "group"),
        )


def _label(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)
