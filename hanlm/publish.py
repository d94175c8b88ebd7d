"""Publishing: a stage writes into ``OUT.work/result``, which becomes ``OUT`` by one rename.

When all is there, every file is hashed into ``manifest.json`` and everything is fsynced before the rename. So a folder
with a manifest is complete, and a killed run leaves at most ``OUT.work``.
"""

import json
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from hanlm.artifact import KINDS, MANIFEST, SCHEMA_VERSION, fingerprint
from hanlm.config import to_plain
from hanlm.errors import ArtifactError, ConfigError
from hanlm.files import fsync, replace_text, sha256_of
from hanlm.locks import LOCK, exclusive

_held: set[Path] = set()
"""Working folders that this process holds."""

_VERSIONED = (
    *("hanlm", "torch", "transformers", "tokenizers", "sentencepiece", "megatron-core", "peft", "trl"),
    *("datatrove", "opencc", "jieba", "rjieba", "trafilatura", "mwparserfromhell", "lxml", "lingua-language-detector"),
)


class Input(TypedDict):
    """What a manifest tells of an input."""

    path: str
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


def hash_input(path: Path) -> Input:
    """Return what ``publish`` records of an input, for stages that need it more than once: it may be gigabytes."""
    return {"path": str(path), "hash": fingerprint(path)}


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


def _refuse_inputs(out: Path, inputs: Mapping[str, Path | Input]) -> None:
    for name, path in inputs.items():
        if isinstance(path, Path) and path.resolve().is_relative_to(out.resolve()):
            raise ConfigError(f"--out {out} would replace what is read as {name} ({path}); choose another --out.")


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
    inputs: Mapping[str, Path | Input] | None = None,
    seed: int | None = None,
    tokenizer_hash: str | None = None,
    overwrite: bool = False,
    keep_work: bool = False,
) -> Generator[Draft]:
    """Give a folder to write into and, if the block succeeds, publish it as ``out`` by one rename.

    If the block raises, the half-written result is removed and whatever else the stage keeps in
    ``OUT.work`` stays for the next try.

    Raises:
        ConfigError: If ``out`` is one of the inputs, or holds one.
        ArtifactError: If ``out`` holds something that must not be replaced.
    """
    assert kind in KINDS, kind
    _refuse_inputs(out, inputs or {})
    refuse_existing(out, overwrite)
    with hold(out) as work:
        refuse_existing(out, overwrite)  # again: an old result may have been put back
        draft = Draft(folder=work / "result", work=work, tokenizer_hash=tokenizer_hash)
        shutil.rmtree(draft.folder, ignore_errors=True)
        draft.folder.mkdir()
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            hashed = {name: hash_input(p) if isinstance(p, Path) else p for name, p in (inputs or {}).items()}
            yield draft
            manifest = {
                "kind": kind,
                "schema_version": SCHEMA_VERSION,
                "config": to_plain(config),
                "inputs": hashed,
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


def seal(folder: Path, manifest: Mapping[str, Any], *, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Hash and fsync every file of ``folder`` and write its manifest last.

    Args:
        folder: A folder that nobody writes to any more.
        manifest: What to say of it besides its files.
        known: Entries of files that their writers have hashed and fsynced themselves.
    """
    known = known or {}
    files = {
        str(p.relative_to(folder)): known.get(str(p.relative_to(folder)))
        or {"sha256": sha256_of(p), "num_bytes": p.stat().st_size}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p != folder / MANIFEST
    }
    for name in files.keys() - known.keys():
        (folder / name).chmod(0o644)  # transformers leaves weights at 0600, which nobody else could read
        fsync(folder / name)
    replace_text(folder / MANIFEST, json.dumps({**manifest, "files": files}, ensure_ascii=False, indent=1) + "\n")
    fsync(folder)


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that decide a result."""
    found: dict[str, str] = {}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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
