"""Measure the whole way from raw Chinese to token files beside datatrove's own pipeline, on the same text in one run.

    python benchmarks/corpora_chain.py --input TEXTS.jsonl --tokenizer MODEL [--max-mb 20] [--workers 1]

Each way runs in processes of its own; processor seconds are those of all of them. Ways:

* ``hanlm``: ``corpus build --preset web`` (cleaners, filters, personal data, MinHash, repeated lines) and
  ``corpus tokenize``.
* ``datatrove``: its reader, Gopher repetition and quality and FineWeb filters with FineWeb-2's limits, MinHash
  (14 buckets of 8), writer and tokenizer step for Megatron, with its own word tokenizer for Chinese (spaCy with
  jieba; needs ``pip install spacy``).
* ``datatrove, rjieba``: the same with its word tokenizer replaced by rjieba.
* ``tokens``: ``corpus tokenize`` alone and Megatron-LM's loop (``corpora_tokens.py``), each for a megabyte of what the
  build kept.

datatrove's way cleans nothing, masks nothing, finds no repeated lines, holds nothing out and checks nothing it wrote.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

_LANGUAGE = "cmn_Hani"
_OFF = 999


def sample(source: Path, target: Path, max_bytes: int) -> int:
    """Write JSON lines of ``text`` and ``id`` until ``max_bytes`` of text are reached; return their bytes."""
    from hanlm.quarantine import Quarantine
    from hanlm.records import read_documents
    from hanlm.text import base_language

    size = 0
    with target.open("w", encoding="utf-8") as file:
        for document in read_documents([source], Quarantine(), split="all"):
            if base_language(document.lang) in ("", "zh"):
                size += len(document.text.encode())
                file.write(json.dumps({"id": document.id, "text": document.text}, ensure_ascii=False) + "\n")
            if size >= max_bytes:
                break
    return size


def hanlm(source: Path, tokenizer: Path, folder: Path, workers: int) -> None:
    """The two commands."""
    command = [sys.executable, "-m", "hanlm", "corpus"]
    limits = ["--workers", str(workers)]
    corpus, tokens = folder / "corpus", folder / "tokens"
    subprocess.run([*command, "build", "--preset", "web", "--input", source, "--out", corpus, *limits], check=True)
    subprocess.run(
        [*command, "tokenize", "--corpus", corpus, "--tokenizer", tokenizer, "--out", tokens, *limits], check=True
    )


def tokens(source: Path, tokenizer: Path, workers: int) -> list[dict[str, Any]]:
    """Tokenize what the preset web keeps, with our command and as Megatron-LM does."""
    import corpora_tokens

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        command = [
            sys.executable,
            "-m",
            "hanlm",
            "corpus",
            "build",
            "--preset",
            "web",
            "--input",
            source,
            "--out",
            corpus,
        ]
        subprocess.run(command, check=True)
        num_bytes = json.loads((corpus / "manifest.json").read_text())["counts"]["bytes_kept"]
        for name in corpora_tokens.RUNS:
            wall, cpu = corpora_tokens.measure(name, corpus, tokenizer, workers)
            rows.append(_row(name, num_bytes, cpu, wall))
    return rows


def datatrove(source: Path, tokenizer: Path, folder: Path, workers: int, *, rjieba: bool) -> None:
    """The pipeline of datatrove's own examples, in a process of its own."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import corpora_chain as c; c.datatrove_here(*sys.argv[2:])"
    arguments = [Path(__file__).parent, source, tokenizer, folder, str(workers), "rjieba" if rjieba else "own"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def datatrove_here(source: str, tokenizer: str, folder: str, workers: str, words: str) -> None:
    """Run datatrove's stages one after the other."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronDocumentTokenizer
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    from corpora.filters.quality_limits import QualityConfig
    from hanlm.config import to_plain

    if words == "rjieba":
        _use_rjieba()
    here = Path(folder)
    num_workers = int(workers)

    def run(name: str, steps: list[Any], tasks: int = 1) -> None:
        LocalPipelineExecutor(
            steps, tasks=tasks, workers=min(tasks, num_workers), logging_dir=str(here / "logs" / name)
        ).run()

    def read(name: str) -> JsonlReader:
        return JsonlReader(str(here / name))

    (here / "raw").mkdir()
    shutil.copy(source, here / "raw/in.jsonl")
    limits = to_plain(QualityConfig().zh)
    fineweb = {key: _OFF if value is None else value for key, value in limits["fineweb"].items()}
    filters = [
        GopherRepetitionFilter(language=_LANGUAGE, **limits["gopher_repetition"]),
        FineWebQualityFilter(language=_LANGUAGE, **fineweb),
        GopherQualityFilter(language=_LANGUAGE, **limits["gopher_quality"]),
    ]
    run("filters", [read("raw"), *filters, JsonlWriter(str(here / "kept"))])
    if words == "own":
        load_word_tokenizer.cache_clear()  # one that is in use cannot be copied, and the executor copies its steps
    config = minhash.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    run("signatures", [read("kept"), minhash.MinhashDedupSignature(str(here / "sigs"), config, language=_LANGUAGE)])
    buckets = minhash.MinhashDedupBuckets(str(here / "sigs"), str(here / "buckets"), config=config)
    run("buckets", [buckets], config.num_buckets)
    run("cluster", [minhash.MinhashDedupCluster(str(here / "buckets"), str(here / "remove"), config=config)])
    last = [read("kept"), minhash.MinhashDedupFilter(str(here / "remove")), JsonlWriter(str(here / "unique"))]
    run("write", last)
    tokens = MegatronDocumentTokenizer(
        str(here / "tokens"),
        tokenizer_name_or_path=str(Path(tokenizer) / "tokenizer.json"),
        eos_token="</s>",
    )
    run("tokens", [read("unique"), tokens])


def _use_rjieba() -> None:
    """Let datatrove cut Chinese with rjieba."""
    import rjieba
    from datatrove.pipeline.dedup import minhash
    from datatrove.utils import text, word_tokenizers

    class Rjieba(word_tokenizers.WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return [word for word in rjieba.cut(text, False) if not word.isspace()]

        def sent_tokenize(self, text: str) -> list[str]:
            return text.split("。")

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    cutter = Rjieba()
    for module in (text, word_tokenizers, minhash):
        module.load_word_tokenizer = lambda _language: cutter


def measure(name: str, num_bytes: int, way: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Run one way in a new folder; return its seconds for a megabyte."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        source, tokenizer, workers = arguments
        way(source, tokenizer, Path(folder), workers, **options)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _row(name, num_bytes, cpu, wall)


def _row(name: str, num_bytes: int, cpu: float, wall: float) -> dict[str, Any]:
    return {"way": name, "core_seconds_per_mb": round(cpu / num_bytes * 1e6, 3), "wall_seconds": round(wall, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument("--max-mb", type=float, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=["hanlm", "tokens", "rjieba", "own"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        size = sample(options.input, source, int(options.max_mb * 1e6))
        given = (source, options.tokenizer, options.workers)
        if "hanlm" in options.ways:
            rows.append(measure("hanlm", size, hanlm, *given))
        if "tokens" in options.ways:
            rows += tokens(*given)
        if "rjieba" in options.ways:
            rows.append(measure("datatrove, rjieba", size, datatrove, *given, rjieba=True))
        if "own" in options.ways:
            rows.append(measure("datatrove", size, datatrove, *given, rjieba=False))
    print(f"{size / 1e6:.1f} MB of Chinese, {options.workers} workers")
    for row in rows:
        print(f"{row['way']:24} {row['core_seconds_per_mb']:8.3f} core-seconds/MB {row['wall_seconds']:8.1f} s wall")
    if options.out:
        options.out.write_text(json.dumps({"num_bytes": size, "ways": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
