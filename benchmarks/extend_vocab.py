"""Time extend-vocab beside SentencePiece's BPE trainer and Hugging Face's, on the same text, one after the other.

    python benchmarks/extend_vocab.py --base tokenizer.model --text train.jsonl.gz --num-new-tokens 18000

Each runs as a process of its own and is timed whole, start-up and reading included: wall and processor
seconds, and peak memory. extend-vocab runs once before that, so that its machine code is compiled. The
trainers learn a vocabulary from nothing and neither merge, verify nor measure it; they are the yardstick.
--unigram adds SentencePiece's unigram trainer, which takes a quarter of an hour for 58 MB.
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
text, prefix, size, threads, kind = sys.argv[1:]
sentencepiece.SentencePieceTrainer.train(
    input=text, model_prefix=prefix, vocab_size=int(size), model_type=kind, byte_fallback=True,
    character_coverage=0.9999, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
    max_sentence_length=1 << 20, num_threads=int(threads), hard_vocab_limit=False, minloglevel=2,
)
"""

TRAIN_HF = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
text, prefix, size = sys.argv[1:]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=int(size), initial_alphabet=alphabet, show_progress=False)
tokenizer.train([text], trainer)
tokenizer.save(prefix + ".json")
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
    """Run each and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--num-new-tokens", type=int, default=18_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--unigram", action="store_true")
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
        train_hf = [sys.executable, "-c", TRAIN_HF, str(plain), str(folder / "h"), sizes[0]]
        peers = [("sentencepiece BPE trainer", [*train, "bpe"]), ("tokenizers BpeTrainer, byte-level", train_hf)]
        peers += [("sentencepiece unigram trainer", [*train, "unigram"])] if args.unigram else []
        timed([*extend, "--out", str(folder / "warm")])
        print(f"{plain.stat().st_size / 1e6:.1f} MB of text, {args.num_new_tokens} new tokens, {args.workers} threads")
        print("| | wall s | CPU s | peak MB |\n|---|---|---|---|")
        for _ in range(args.repeats):
            for label, command in [("extend-vocab, whole command", [*extend, "--out", str(folder / "out")]), *peers]:
                t = timed(command)
                cells = f"{t.wall_seconds:.1f} | {t.cpu_seconds:.1f} | {t.peak_bytes / 1e6:.0f}"
                print(f"| {label} | {cells} |", flush=True)
        report = json.loads((folder / "out" / "vocab_report.json").read_text(encoding="utf-8"))
        print(f"tokens per character of held-out text: {report['tokens_per_char_overall']}")


if __name__ == "__main__":
    main()
