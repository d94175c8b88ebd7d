"""Measure `hanlm corpus tokenize` beside Megatron-LM's way of tokenizing documents, on the same corpus in one run.

    python benchmarks/corpora_tokens.py --corpus SMALL LARGE --tokenizer MODEL --workers 1 2

The peer follows the loop of Megatron-LM's ``preprocess_data``: processes that each take a line, parse it, call the
tokenizer once for the document, append its ids to a list with the eos, and send the list to the main process, which
gives it to megatron-core's ``IndexedDatasetBuilder``. It is given SentencePiece, the faster of the tokenizers that
Megatron-LM knows. It checks nothing, and writes no table of documents.

Each run is a process of its own. Its processor seconds, those of its workers included, are what to compare where other
work shares the machine. The rate is that of what the large corpus has more than the small one: both have the same
start, imports above all, which is given beside it. Make the small one large enough for all workers (16 MB a worker).
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36

type Row = dict[str, Any]


class Peer:
    """One document after the other, as Megatron-LM's preprocessing does it."""

    pieces: Any = None

    def __init__(self, model: Path) -> None:
        self.model = model

    def start(self) -> None:
        """Load the tokenizer, once in every process."""
        import sentencepiece

        Peer.pieces = sentencepiece.SentencePieceProcessor(model_file=str(self.model))

    def encode(self, line: bytes) -> tuple[list[int], int]:
        """Return the ids of a document with its end, and the bytes of its line."""
        text = json.loads(line)["text"]
        ids: list[int] = []
        ids.extend(Peer.pieces.encode(text))
        ids.append(Peer.pieces.eos_id())
        return ids, len(line)


def run_peer(corpus: Path, tokenizer: Path, out: Path, workers: int) -> None:
    """Tokenize the corpus's shards one after the other."""
    import multiprocessing

    import numpy as np

    from hanlm.megatron import megatron_import
    from hanlm.streams import open_stream

    with megatron_import():
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
    peer = Peer(tokenizer / "tokenizer.model")
    out.mkdir()
    with multiprocessing.Pool(workers, initializer=peer.start) as pool:
        for split in ("train", "valid"):
            builder = IndexedDatasetBuilder(str(out / f"{split}.bin"), dtype=np.uint16)
            for shard in sorted(corpus.glob(f"{split}-*.jsonl.zst")):
                with open_stream(shard) as stream:
                    for ids, _ in pool.imap(peer.encode, stream, 32):
                        builder.add_document(ids, [len(ids)])  # pyright: ignore[reportArgumentType]
            builder.finalize(str(out / f"{split}.idx"))


def run_hanlm(corpus: Path, tokenizer: Path, out: Path, workers: int) -> None:
    """Tokenize as the command does."""
    from corpora.tokenize import TokenizeConfig, tokenize

    tokenize(TokenizeConfig(corpus=(corpus,), tokenizer=tokenizer, out=out, workers=workers))


RUNS = {"hanlm corpus tokenize": run_hanlm, "Megatron-LM's loop": run_peer}


def measure(name: str, corpus: Path, tokenizer: Path, workers: int) -> tuple[float, float]:
    """Run in a fresh process and return its seconds by the clock and of all its processors."""
    with tempfile.TemporaryDirectory(prefix="corpora-tokens-") as folder:
        command = [sys.executable, __file__, "--child", name, "--corpus", str(corpus), "--tokenizer", str(tokenizer)]
        command += ["--out", str(Path(folder) / "tokens"), "--workers", str(workers)]
        before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        _wait_for_all()
        seconds, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _adopt_orphans() -> None:
    """Become the parent of what our children leave behind: of the server that forks workers, and of its workers."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _wait_for_all() -> None:
    """Wait for every child, adopted ones too, so that the kernel adds up what they used."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def compare(name: str, corpora: Sequence[tuple[float, Path]], tokenizer: Path, workers: int, repeat: int) -> Row:
    """Return the quickest runs on the small and on the large corpus, and the rates that follow from them."""
    runs = [[measure(name, path, tokenizer, workers) for _ in range(repeat)] for _, path in corpora]
    small, large = (tuple(map(min, zip(*each, strict=True))) for each in runs)
    more = corpora[1][0] - corpora[0][0]
    row: Row = {"name": name, "workers": workers, "megabytes": [round(size, 1) for size, _ in corpora]}
    for number, unit in enumerate(("seconds", "cpu_seconds")):
        rate = more / (large[number] - small[number])
        row |= {unit: large[number], f"start_{unit}": small[number] - corpora[0][0] / rate}
        row[f"mb_per_{unit.removesuffix('s')}"] = rate
    return row


def _sentence(row: Row) -> str:
    wall = f"{row['seconds']:6.1f} s ({row['start_seconds']:.1f} to start), {row['mb_per_second']:5.1f} MB/s"
    used = f"{row['cpu_seconds']:6.1f} processor seconds ({row['start_cpu_seconds']:.1f} to start)"
    rate = f"{row['mb_per_cpu_second']:5.1f} MB per processor second"
    return f"{row['name']:24} {row['workers']} processes, {row['megabytes'][1]} MB: {wall}; {used}, {rate}"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, nargs="+", help="Two made by `hanlm corpus build`.")
    parser.add_argument("--tokenizer", type=Path, required=True, help="Folder with tokenizer.json and tokenizer.model.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1, help="Runs of each; the quickest counts.")
    parser.add_argument("--out", type=Path, help="Write the rows here as JSON.")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        RUNS[args.child](args.corpus[0], args.tokenizer, args.out, args.workers[0])
        return
    from hanlm.artifact import open_artifact

    _adopt_orphans()
    sizes = [open_artifact(path, "corpus").manifest["counts"]["bytes_kept"] / 1e6 for path in args.corpus]
    corpora = sorted(zip(sizes, args.corpus, strict=True))
    rows: list[Row] = []
    for workers in args.workers:
        for name in RUNS:
            rows.append(compare(name, corpora, args.tokenizer, workers, args.repeat))
            print(_sentence(rows[-1]), flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
