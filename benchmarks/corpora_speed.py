"""Measure the corpus commands beside what one would write with the usual libraries, on the same text in one run.

    python benchmarks/corpora_speed.py --input TEXTS.jsonl --tokenizer recipes/demo/base

Prints megabytes of UTF-8 text a second, by the wall clock and by processor time, and with ``--out`` writes them
as JSON. Everything runs on one thread. The peers do the same work with less care: no quarantine, no manifest.
"""

import argparse
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

_HAN = re.compile("[\u4e00-\u9fff]")


def read_texts(path: Path) -> list[str]:
    """Return the texts of all splits of whatever ``hanlm corpus build`` reads."""
    from hanlm.quarantine import Quarantine
    from hanlm.records import read_documents

    return [document.text for document in read_documents([path], Quarantine(), split="all")]


def hanlm_build(source: Path, folder: Path) -> None:
    """Normalise, filter, deduplicate, split, compress, hash."""
    from corpora.build import BuildConfig, build

    build(BuildConfig(input=(source,), out=folder / "corpus"))


def datasets_build(source: Path, folder: Path) -> None:
    """The same steps as map and filter of ``datasets``, uncompressed."""
    import hashlib
    import unicodedata

    import datasets

    def clean(row: dict[str, Any]) -> dict[str, str]:
        text = unicodedata.normalize("NFC", row["text"].replace("\r\n", "\n")).strip()
        return {"text": text, "key": hashlib.sha256(text.encode()).hexdigest()}

    seen: set[str] = set()

    def is_wanted(row: dict[str, Any]) -> bool:
        text = row["text"]
        fresh = row["key"] not in seen
        seen.add(row["key"])
        return fresh and bool(text) and len(_HAN.findall(text)) >= 0.3 * len(text)

    rows: Any = datasets.load_dataset("json", data_files=str(source), split="train", cache_dir=str(folder / "cache"))
    rows.map(clean).filter(is_wanted).to_json(str(folder / "kept.jsonl"), force_ascii=False)


def hanlm_tokenize(corpus: Path, tokenizer: Path, out: Path, engine: Any) -> None:
    """Encode, write, read back and compare a sample, hash."""
    from corpora.tokenize import TokenizeConfig, tokenize

    tokenize(TokenizeConfig(corpus=(corpus,), tokenizer=tokenizer, out=out, engine=engine, workers=1))


def loop_tokenize(texts: list[str], tokenizer: Path, out: Path) -> None:
    """Encode document by document with transformers and hand lists to megatron-core's builder."""
    import numpy as np

    from hanlm.megatron import megatron_import
    from hanlm.tokenizing import load_tokenizer

    with megatron_import():
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
    encoder: Any = load_tokenizer(tokenizer)
    builder = IndexedDatasetBuilder(str(out.with_suffix(".bin")), dtype=np.int32)
    for text in texts:
        ids = [encoder.bos_token_id, *encoder(text, add_special_tokens=False)["input_ids"], encoder.eos_token_id]
        builder.add_document(ids, [len(ids)])
    builder.finalize(str(out.with_suffix(".idx")))


def measure(name: str, num_bytes: int, work: Callable[[], None]) -> dict[str, Any]:
    """Run the work once and return its rates."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rates = {"mb_per_second": num_bytes / 1e6 / wall, "mb_per_cpu_second": num_bytes / 1e6 / cpu}
    return {"step": name, "seconds": round(wall, 2)} | {key: round(rate, 2) for key, rate in rates.items()}


def run_all(source: Path, tokenizer: Path, megabytes: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield one row a measurement."""
    sample, texts, num_bytes = folder / "sample.jsonl", list[str](), 0
    for text in read_texts(source):
        if num_bytes >= megabytes * 1e6:
            break
        texts.append(text)
        num_bytes += len(text.encode())
    sample.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts), encoding="utf-8")
    warm = folder / "warm.jsonl"  # imports and first calls are not what is measured
    warm.write_text("".join(sample.read_text(encoding="utf-8").splitlines(keepends=True)[:60]), encoding="utf-8")
    for name, build in (("hanlm corpus build", hanlm_build), ("datasets map + filter", datasets_build)):
        _fresh(folder, lambda work, build=build: build(warm, work))
        yield measure(name, num_bytes, lambda build=build: _fresh(folder, lambda work: build(sample, work)))
    hanlm_build(sample, folder)
    hanlm_build(warm, folder / "small")
    for engine in ("sentencepiece", "fast"):
        hanlm_tokenize(folder / "small/corpus", tokenizer, folder / f"warm-{engine}", engine)
        name = f"hanlm corpus tokenize --engine {engine}"
        out = folder / engine
        yield measure(name, num_bytes, lambda out=out, e=engine: hanlm_tokenize(folder / "corpus", tokenizer, out, e))
    name = "transformers, a document at a time"
    yield measure(name, num_bytes, lambda: loop_tokenize(texts, tokenizer, folder / "loop"))


def _fresh(folder: Path, work: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work(Path(name))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="Chinese text: jsonl, txt, parquet, or a corpus.")
    parser.add_argument("--tokenizer", type=Path, required=True, help="Folder with tokenizer.json and tokenizer.model.")
    parser.add_argument("--megabytes", type=float, default=20.0, help="How much of the text to take.")
    parser.add_argument("--out", type=Path, help="Write the rows here as JSON.")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="corpora-speed-"))
    try:
        rows: list[dict[str, Any]] = []
        for row in run_all(args.input, args.tokenizer, args.megabytes, folder):
            rows.append(row)
            print(
                f"{row['step']:45} {row['seconds']:8.2f} s {row['mb_per_second']:8.2f} MB/s "
                f"{row['mb_per_cpu_second']:8.2f} MB per processor second"
            )
    finally:
        shutil.rmtree(folder)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
