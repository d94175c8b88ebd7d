"""MinHash signatures of character or word n-grams, equal to datatrove's on the same shingle hashes.

datatrove makes shingles one by one in Python (2 MB/s with a fast word cutter); here they and the signature are
compiled loops. Its file format is kept, so its own steps run on these files.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dedup import kernels
from corpora.dedup.config import DedupConfig
from corpora.dedup.letters import code_points, folded_letters
from corpora.dedup.records import GrowingArray, Records, scratch_folder
from corpora.dedup.sorting import RunMerger
from corpora.facts import Facts

type Hashes = npt.NDArray[np.uint64]


def band_dtype(rows: int) -> np.dtype[Any]:
    """Return the record of a band's file: its hashes, then the document; packed, as datatrove writes it."""
    return np.dtype([("first", "<u8"), ("others", "<u8", (rows - 1,)), ("document", "<u4")])


def band_file(folder: Path, band: int, task: int) -> Path:
    """Return where datatrove looks for a task's signatures of one band (which it calls a bucket)."""
    return folder / "near" / f"bucket_{band:03d}" / f"{task:05d}.minhash.sig"


@cache
def permutations(num_hashes: int, seed: int) -> tuple[Hashes, Hashes]:
    """Return the factors and addends of datatrove's hash functions, drawn as ``MinhashDedupSignature`` draws them."""
    draw = np.random.RandomState(seed)
    prime = kernels.MERSENNE_61
    return (
        draw.randint(1, prime, dtype=np.uint64, size=(1, num_hashes))[0],
        draw.randint(0, prime, dtype=np.uint64, size=(1, num_hashes))[0],
    )


def shingle_hashes(facts: Facts, config: DedupConfig) -> Hashes:
    """Return the hash of each run of ``config.ngram`` letters or words; punctuation, blanks and case are no matter."""
    if config.shingles == "chars":
        points = code_points(facts.text)
        shingles = np.empty(len(points), dtype=np.uint64)
        scratch = np.empty(len(points), dtype=np.uint32)
        count = kernels.char_shingles(points, folded_letters(), config.ngram, scratch, shingles)
        return shingles[:count]
    points = code_points("".join(facts.words))
    lengths = np.fromiter(map(len, facts.words), dtype=np.uint32, count=len(facts.words))
    words, shingles = np.empty(len(lengths), dtype=np.uint64), np.empty(len(lengths), dtype=np.uint64)
    return shingles[: kernels.word_shingles(points, lengths, folded_letters(), config.ngram, words, shingles)]


def signature(shingles: Hashes, config: DedupConfig, minima: Hashes | None = None) -> Hashes:
    """Return the ``bands * rows`` least hashes of at least one shingle, in ``minima`` where that is given."""
    a, b = permutations(config.bands * config.rows, config.seed)
    if minima is None:
        minima = np.empty(len(a), dtype=np.uint64)
    kernels.minhash(shingles, a, b, minima)
    return minima


class MinhashWriter:
    """Signatures of one task, written on ``close`` as a sorted file for each band.

    Documents that are too short for a shingle have none: they are compared exactly or not at all.

    Args:
        folder: The dedup folder.
        task: Number of the task.
        config: Shingles, bands and rows.
        max_rows: Documents whose signatures are held in memory.
    """

    def __init__(self, folder: Path, task: int, config: DedupConfig, max_rows: int = 1 << 15) -> None:
        self._config, self._max_rows = config, max_rows
        scratch = scratch_folder(folder, task)
        self._bands = [
            RunMerger(band_file(folder, band, task), scratch / f"near-{band:03d}", "first", _order, has_header=False)
            for band in range(config.bands)
        ]
        self._begin()

    def add(self, document: int, facts: Facts) -> None:
        """Sign one document."""
        shingles = shingle_hashes(facts, self._config)
        if not len(shingles):
            return
        if len(self._documents.rows()) == self._max_rows:
            for band, merger in enumerate(self._bands):
                merger.put_aside(self._records(band))
            self._begin()
        signature(shingles, self._config, self._minima.room(1)[0])
        self._documents.room(1)[0] = document

    def close(self) -> None:
        """Write the files."""
        for band, merger in enumerate(self._bands):
            merger.close(self._records(band))

    def _begin(self) -> None:
        self._documents = GrowingArray(np.uint32)
        self._minima = GrowingArray(np.uint64, (self._config.bands * self._config.rows,))

    def _records(self, band: int) -> Records:
        rows = self._config.rows
        hashes = self._minima.rows()[:, band * rows : (band + 1) * rows]
        records = np.empty(len(hashes), dtype=band_dtype(rows))
        records["first"], records["others"], records["document"] = hashes[:, 0], hashes[:, 1:], self._documents.rows()
        return records


def _order(records: Records) -> npt.NDArray[np.int64]:
    """Return datatrove's order: by all hashes, then by document."""
    return np.lexsort((records["document"], *reversed(records["others"].T), records["first"]))
