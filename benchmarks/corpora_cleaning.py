"""Measure each cleaner: processor seconds per MB, and the share of documents it changes.

    python benchmarks/corpora_cleaning.py --input TEXTS.jsonl

Everything runs on one thread. "Clean" is the same text after one pass of the chain: what a cleaner costs where it finds
nothing to do. Writes the rows as JSON with ``--out``.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def read_texts(path: Path) -> list[str]:
    """Return the texts of whatever ``hanlm corpus build`` reads."""
    from hanlm.quarantine import Quarantine
    from hanlm.records import read_documents

    return [document.text for document in read_documents([path], Quarantine(), split="all")]


def seconds_per_mb(clean: Callable[[str], str], texts: Sequence[str], repeats: int) -> tuple[float, int]:
    """Return the least processor time of some repeats, and how many texts were changed."""
    clean(texts[0])  # imports and compiled patterns are not what is measured
    best, num_changed = float("inf"), 0
    for _ in range(repeats):
        start = time.process_time()
        cleaned = [clean(text) for text in texts]
        best = min(best, time.process_time() - start)
        num_changed = sum(a != b for a, b in zip(texts, cleaned, strict=True))
    return best / (sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6), num_changed


def measure(texts: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Return one row a cleaner, and one for the whole of each preset."""
    from corpora.cleaning.chain import Chain
    from corpora.cleaning.registry import CLEANERS, PRESETS, make, preset
    from hanlm.text import normalise

    normal = [normalise(text) for text in texts]
    clean = list(map(Chain(preset("web")), normal))
    steps: dict[str, Callable[[str], str]] = {name: make(name) for name in CLEANERS}
    steps |= {f"preset {name}": Chain(preset(name)) for name in PRESETS}
    rows: list[dict[str, Any]] = []
    for name, step in steps.items():
        seconds, num_changed = seconds_per_mb(step, texts if name == "normalise" else normal, repeats)
        seconds_clean, _ = seconds_per_mb(step, clean, repeats)
        rows.append(
            {
                "cleaner": name,
                "cpu_seconds_per_mb": round(seconds, 4),
                "cpu_seconds_per_mb_clean": round(seconds_clean, 4),
                "mb_per_cpu_second_clean": round(1 / seconds_clean, 1),
                "share_changed": round(num_changed / len(texts), 5),
            }
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="Text: jsonl, txt, parquet, or a corpus.")
    parser.add_argument("--repeats", type=int, default=3, help="The least time of so many is taken.")
    parser.add_argument("--out", type=Path, help="Write the rows here as JSON.")
    args = parser.parse_args()
    rows = measure(read_texts(args.input), args.repeats)
    for row in rows:
        print(
            f"{row['cleaner']:16} {row['cpu_seconds_per_mb']:8.4f} s/MB, on clean text "
            f"{row['cpu_seconds_per_mb_clean']:8.4f} s/MB = {row['mb_per_cpu_second_clean']:7.1f} MB/s; "
            f"changes {row['share_changed']:.3%} of the documents"
        )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
