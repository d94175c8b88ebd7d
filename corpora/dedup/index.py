"""An index that grows: what each run kept, so that later runs leave it out.

``INDEX/NAME/`` holds one run: the keys of its texts (``exact-*.npy``), for each band a key of every signature
(``near-BAND-*.npy``), all sorted, and ``index.json`` with how signatures were made and the hash of each file.
Of a document it keeps 16 bytes and, with MinHash, another 16 a band; no text.
"""

import json
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from corpora.dedup.config import DedupConfig
from corpora.dedup.copies import band_keys, band_range, exact_keys
from corpora.dedup.records import KEY, Records, hash_range, open_array, task_file, write_array
from corpora.dedup.steps import DedupStep
from hanlm.errors import ArtifactError, ConfigError
from hanlm.files import fsync, replace_text, sha256_of

_LIST = "index.json"
_SCHEMA = 1


class WriteIndex(DedupStep):
    """Writes the keys of the documents that are kept into a folder that will be one run of the index.

    Runs after the clustering, as ``num_index_tasks(config)`` tasks or a multiple of that.
    """

    name = "dedup: index"

    def __init__(self, folder: Path, num_tasks: int, config: DedupConfig, out: Path) -> None:
        super().__init__(folder, num_tasks)
        self.config, self.out = config, out

    def work(self, part: int, num_parts: int) -> None:
        """Write the exact keys, or one band, or a range of either."""
        pieces, rest = divmod(num_parts, num_index_tasks(self.config))
        assert (pieces > 0, rest) == (True, 0), (
            f"expected {num_index_tasks(self.config)} tasks or a multiple, got {num_parts}"
        )
        tasks = range(self.num_tasks)
        if part < pieces:
            first, end = hash_range(part, pieces)
            kept = self._kept(exact_keys(self.folder, task, first, end) for task in tasks)
            write_array(self.out / f"exact-{part:03d}.npy", kept)
            return
        part -= pieces
        where = band_range(self.folder, self.config, self.num_tasks, part, pieces * self.config.bands)
        kept = self._kept(band_keys(self.folder, self.config, task, where) for task in tasks)
        write_array(self.out / f"near-{where.band:03d}-{part % pieces:03d}.npy", kept)

    def _kept(self, keys: Iterable[Records]) -> Records:
        """Return the keys of the documents that stay, each once, sorted."""
        kept: list[Records] = []
        for task, found in enumerate(keys):
            removed = open_array(task_file(self.folder, "removed", task))["document"]
            kept.append(found[~np.isin(found["document"], removed)])
        both = np.concatenate(kept)
        both = both[np.lexsort((both["low"], both["high"]))]
        is_new = np.ones(len(both), dtype=bool)
        is_new[1:] = (both["high"][1:] != both["high"][:-1]) | (both["low"][1:] != both["low"][:-1])
        unique = np.empty(int(is_new.sum()), dtype=KEY.descr[:2])
        unique["high"], unique["low"] = both["high"][is_new], both["low"][is_new]
        return unique


def num_index_tasks(config: DedupConfig) -> int:
    """Return the least number of tasks of ``WriteIndex``: one for the exact keys and one a band."""
    return 1 + (config.bands if config.near else 0)


def seal_index(out: Path, config: DedupConfig) -> None:
    """List the files that ``WriteIndex`` wrote, with their hashes."""
    for left in out.glob(".*.new"):  # of a task that was killed
        left.unlink()
    files = {
        path.name: {"num_bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in sorted(out.glob("*-*.npy"))
    }
    content = {"schema": _SCHEMA, "signatures": _signatures(config), "files": files}
    replace_text(out / _LIST, json.dumps(content, indent=1) + "\n")


def run_name(out: Path) -> str:
    """Return the name of a corpus among the runs of an index: building it anew must not meet itself there."""
    return f"{out.name}-{sha256(str(out.resolve()).encode()).hexdigest()[:8]}"


def publish_index(out: Path, index: Path, name: str) -> None:
    """Copy a sealed run beside the others, then show it by one rename; the index may lie on another disk.

    A run of this name that is there already is of an earlier try, and is replaced.
    """
    index.mkdir(parents=True, exist_ok=True)
    target, new, old = index / name, index / f".{name}.new", index / f".{name}.old"
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(out, new)
    for file in new.iterdir():
        fsync(file)
    if target.exists():
        target.rename(old)
    new.rename(target)
    fsync(index)
    shutil.rmtree(old, ignore_errors=True)


def known_runs(index: Path, config: DedupConfig, own: str) -> list[Path]:
    """Return the runs of an index, checked, in the order of their names, without an earlier try of this run.

    Args:
        index: Folder of the index; it need not exist yet.
        config: This run's configuration; signatures must have been made alike.
        own: This run's name in the index.

    Raises:
        ArtifactError: If a file is missing, cut or changed; names it.
        ConfigError: If a run's signatures were made in another way.
    """
    if not index.exists():
        return []
    if not index.is_dir():
        raise ConfigError(f"expected --index to be a folder, or a new one, got the file {index}; pass another path.")
    runs = [path for path in sorted(index.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    runs = [path for path in runs if path.name != own]
    for run in runs:
        _verify(run, config)
    return runs


def _verify(run: Path, config: DedupConfig) -> None:
    remedy = "build the corpus that wrote it again, or delete that folder to forget it."
    try:
        content: dict[str, Any] = json.loads((run / _LIST).read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = content["files"]
        signatures = content["signatures"]
        if content["schema"] != _SCHEMA:
            raise ValueError(f"expected schema {_SCHEMA}, got {content['schema']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{run / _LIST} of the index cannot be read ({error}); {remedy}") from error
    if config.near and signatures is None:
        raise ConfigError(
            f"{run} of the index was built without near-duplicates, so this run cannot find near copies of it; build "
            "that corpus again with --add near-duplicates, pass --skip near-duplicates here, or use another index."
        )
    if config.near and signatures != _signatures(config):
        raise ConfigError(
            f"the index {run.parent} holds signatures made with {signatures}, this run makes {_signatures(config)}; "
            "set the keys of dedup alike, or use another index."
        )
    for name, expected in files.items():
        file = run / name
        if not file.is_file() or file.stat().st_size != expected["num_bytes"] or sha256_of(file) != expected["sha256"]:
            raise ArtifactError(f"{file} of the index is missing, cut or changed; {remedy}")


def _signatures(config: DedupConfig) -> dict[str, Any] | None:
    """Return what two runs must have in common to compare signatures; None without MinHash."""
    if not config.near:
        return None
    return {name: getattr(config, name) for name in ("shingles", "ngram", "bands", "rows", "seed")}
