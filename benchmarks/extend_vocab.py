"""Time extend-vocab beside SentencePiece's own BPE trainer, on the same text, one after the other.

    python benchmarks/extend_vocab.py --base tokenizer.model --text train.jsonl.gz --num-new-tokens 18000

Both run as processes of their own and are timed whole, start-up and reading included: wall and processor
seconds, and peak memory. extend-vocab runs once before that, so that its machine code is compiled. The
trainer learns a vocabulary from nothing and neither merges, verifies nor measures it; it is the yardstick.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hanlm.quarantine import Quarantine
from hanlm.records import read_documents

TRAIN = """
import sys, sentencepiece
text, prefix, size, threads = sys.argv[1:]
sentencepiece.SentencePieceTrainer.train(
    input=text, model_prefix=prefix, vocab_size=int(size), model_type="bpe", byte_fallback=True,
    character_coverage=0.9999, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
    max_sentence_length=1 << 20, num_threads=int(threads), hard_vocab_limit=False, minloglevel=2,
)
"""


@dataclass(frozen=True)
class Timing:
    """What one process took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def timed(command: list[str]) -> Timing:
    """Run a command to its end and measure it alone."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:4]} failed")
    return Timing(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def main() -> None:
    """Run both and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--num-new-tokens", type=int, default=18_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "plain.txt"
        with plain.open("w", encoding="utf-8") as file:
            for document in read_documents([args.text], Quarantine()):
                file.write(document.text + "\n")
        extend = [sys.executable, "-m", "hanlm", "extend-vocab", "--base", str(args.base), "--corpus", str(args.text)]
        extend += ["--num-new-tokens", str(args.num_new_tokens), "--workers", str(args.workers), "--overwrite"]
        sizes = [str(args.num_new_tokens), str(args.workers)]
        train = [sys.executable, "-c", TRAIN, str(plain), str(folder / "m"), *sizes]
        timed([*extend, "--out", str(folder / "warm")])
        print(f"{plain.stat().st_size / 1e6:.1f} MB of text, {args.num_new_tokens} new tokens, {args.workers} threads")
        print("| | wall s | CPU s | peak MB |\n|---|---|---|---|")
        for _ in range(args.repeats):
            for label, command in (
                ("extend-vocab, whole command", [*extend, "--out", str(folder / "out")]),
                ("sentencepiece BPE trainer", train),
            ):
                t = timed(command)
                cells = f"{t.wall_seconds:.1f} | {t.cpu_seconds:.1f} | {t.peak_bytes / 1e6:.0f}"
                print(f"| {label} | {cells} |", flush=True)
        report = json.loads((folder / "out" / "vocab_report.json").read_text(encoding="utf-8"))
        print(f"tokens per character of held-out text: {report['tokens_per_char_overall']}")


if __name__ == "__main__":
    main()
