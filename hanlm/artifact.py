"""Artifacts: finished folders with a manifest, published by one rename.

A stage writes into ``OUT.work/result``; when all is there, every file is hashed into ``manifest.json``,
everything is fsynced and the folder is renamed to ``OUT``. So a folder with a manifest is complete, and a
killed run leaves at most ``OUT.work``.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.locks import exclusive

MANIFEST = "manifest.json"
LOCK = ".lock"
"""In OUT.work, while a process writes there."""
SCHEMA_VERSION = 1
KINDS = ("corpus", "dataset", "tokenizer", "tokens", "model", "adapter", "sft", "gguf", "report")

_held: set[Path] = set()
"""Working folders that this process holds."""

_VERSIONED = ("hanlm", "torch", "transformers", "tokenizers", "sentencepiece", "megatron-core", "peft", "trl")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished artifact, opened and checked."""

    path: Path
    kind: str
    manifest: dict[str, Any]
    hash: str


@dataclass(slots=True)
class Draft:
    """An artifact being written."""

    folder: Path
    """Write the artifact's files here."""
    work: Path
    """``OUT.work``: resume state may live here and survives a failure."""
    tokenizer_hash: str | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def record(self, **keys: Any) -> None:
        """Add top-level keys to the manifest."""
        self.extra |= keys


def work_folder(out: Path) -> Path:
    """Return the one working folder of an output, the same on every rank and every try."""
    return out.with_name(out.name + ".work")


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise ``ArtifactError`` where publishing to ``out`` would destroy something.

    ``overwrite`` permits replacing an artifact, but never a folder that HanLM did not write.
    """
    if out.name in ("", ".."):
        raise ConfigError(f"expected --out to name a new folder, got {str(out)!r}; pass a path that ends in its name.")
    if out.is_mount():
        raise ArtifactError(f"{out} is a mount point, which no rename can replace; choose a folder inside it as --out.")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise ArtifactError(f"{out} exists and is not an artifact of HanLM; choose another --out or remove it.")
    if not overwrite:
        raise ArtifactError(f"{out} already holds a finished artifact; pass --overwrite or choose another --out.")


@contextmanager
def hold(out: Path) -> Generator[Path]:
    """Keep every other process from writing ``out`` or its work; may be nested within one process.

    Yields:
        ``OUT.work``, which exists.

    Raises:
        ArtifactError: If another process is writing there.
    """
    work = work_folder(out)
    key = work.resolve()
    if key in _held:
        yield work
        return
    with exclusive(work / LOCK, str(out)):
        _held.add(key)
        try:
            if not out.exists() and (old := _old(out)).is_dir():
                old.rename(out)  # a kill came between the two renames of a replacement
            yield work
        finally:
            _held.discard(key)
            (work / LOCK).unlink(missing_ok=True)
            if work.is_dir() and not any(work.iterdir()):
                work.rmdir()


@contextmanager
def publish(
    out: Path,
    *,
    kind: str,
    config: object,
    inputs: Mapping[str, Path] | None = None,
    seed: int | None = None,
    tokenizer_hash: str | None = None,
    overwrite: bool = False,
    keep_work: bool = False,
) -> Generator[Draft]:
    """Give a folder to write into and, if the block succeeds, publish it as ``out`` by one rename.

    If the block raises, the half-written result is removed and whatever else the stage keeps in
    ``OUT.work`` stays for the next try.

    Raises:
        ArtifactError: If ``out`` holds something that must not be replaced.
    """
    assert kind in KINDS, kind
    refuse_existing(out, overwrite)
    with hold(out) as work:
        refuse_existing(out, overwrite)  # again: an old result may have been put back
        draft = Draft(folder=work / "result", work=work, tokenizer_hash=tokenizer_hash)
        shutil.rmtree(draft.folder, ignore_errors=True)
        draft.folder.mkdir()
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            input_hashes = {name: {"path": str(p), "hash": fingerprint(p)} for name, p in (inputs or {}).items()}
            yield draft
            manifest = {
                "kind": kind,
                "schema_version": SCHEMA_VERSION,
                "config": to_plain(config),
                "inputs": input_hashes,
                "tokenizer_hash": draft.tokenizer_hash,
                "versions": package_versions(),
                "seed": seed,
                "started_at": started.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 3),
                **draft.extra,
            }
            seal(draft.folder, manifest)
        except BaseException:
            shutil.rmtree(draft.folder, ignore_errors=True)
            raise
        _replace(draft.folder, out)
        if not keep_work:
            shutil.rmtree(work, ignore_errors=True)


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Hash and fsync every file of ``folder`` and write its manifest last."""
    files = {
        str(p.relative_to(folder)): {"sha256": _sha256(p), "num_bytes": p.stat().st_size}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p != folder / MANIFEST
    }
    for name in files:
        (folder / name).chmod(0o644)  # transformers leaves weights at 0600, which nobody else could read
        fsync(folder / name)
    replace_text(folder / MANIFEST, json.dumps({**manifest, "files": files}, ensure_ascii=False, indent=1) + "\n")
    fsync(folder)


def open_artifact(path: Path, kind: str, *, verify: bool = True) -> Artifact:
    """Open a finished artifact; with ``verify`` every file's size and hash is checked.

    Raises:
        InputError: If there is nothing at ``path``.
        ArtifactError: If it is unfinished, of another kind, or a file was changed; names the file.
    """
    if not path.exists():
        raise InputError(f"expected a {kind} artifact at {path}, but there is nothing; check the path.")
    manifest = read_manifest(path)
    if manifest is None:
        raise ArtifactError(
            f"{path} holds no finished {kind}: {MANIFEST} is missing. "
            f"Run the stage that writes it, or pass a different path."
        )
    if manifest["kind"] != kind:
        raise ArtifactError(f"expected a {kind} artifact at {path}, got a {manifest['kind']}; pass a different path.")
    if verify:
        _verify(path, manifest["files"])
    return Artifact(path=path, kind=kind, manifest=manifest, hash=manifest_hash(manifest))


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest of an artifact, or None for a folder without one.

    Raises:
        ArtifactError: If the manifest is there but cannot be read.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path / MANIFEST} is corrupt ({error}); run the stage that writes it again.") from error
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION or "files" not in manifest:
        raise ArtifactError(
            f"{path / MANIFEST} is not a manifest of schema {SCHEMA_VERSION}; "
            "it was written by another version of HanLM or another program: run the stage again."
        )
    return manifest


def fingerprint(path: Path) -> str:
    """Return a hash that changes when an input changes: of the manifest, of the file, or of all files."""
    if (manifest := read_manifest(path)) is not None:
        return manifest_hash(manifest)
    if path.is_file():
        return _sha256(path)
    if not path.is_dir():
        raise InputError(f"{path} does not exist; check the path.")
    total = hashlib.sha256()
    for p in sorted(path.rglob("*")):
        if p.is_file():
            total.update(f"{p.relative_to(path)}\0{_sha256(p)}\n".encode())
    return total.hexdigest()


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Return the hash that names an artifact: over its kind, tokenizer and files, not over when it was made.

    So a stage that is run again and yields the same bytes leaves what depends on it up to date.
    """
    lasting = {key: manifest[key] for key in ("kind", "schema_version", "tokenizer_hash", "files")}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def fsync(path: Path) -> None:
    """Force a file, or a folder's list of names, onto the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that it is seen either old or new, never cut."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    fsync(new)
    new.replace(path)


def to_plain(value: object) -> Any:
    """Return a configuration as plain JSON and YAML values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value) if isinstance(value, Path) else value


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that decide a result."""
    found: dict[str, str] = {}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _verify(path: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise ArtifactError(f"{file} is missing from its artifact; run the stage that writes it again.")
        if (size := file.stat().st_size) != expected["num_bytes"]:
            raise ArtifactError(
                f"{file} should hold {expected['num_bytes']} bytes, got {size}: it was cut or changed after it was "
                "published; run the stage that writes it again."
            )
        if _sha256(file) != expected["sha256"]:
            raise ArtifactError(
                f"{file} fails its checksum: it was changed or damaged after it was published; "
                "run the stage that writes it again."
            )


def _replace(folder: Path, out: Path) -> None:
    """Put a sealed folder in the place of ``out``; whatever fails, both the old and the new one stay whole."""
    old = _old(out)
    shutil.rmtree(old, ignore_errors=True)
    try:
        if out.exists():
            out.rename(old)
        folder.rename(out)
    except BaseException as error:
        if old.exists() and not out.exists():
            old.rename(out)
        if isinstance(error, OSError):
            raise ArtifactError(
                f"{out} could not be put in place ({error.strerror}); the finished result is kept in {folder}: "
                "mend the cause and move it there."
            ) from error
        raise
    fsync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _old(out: Path) -> Path:
    return out.with_name(out.name + ".old")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
