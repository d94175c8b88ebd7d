"""Compare extend-vocab with a published tokenizer, in tokens per character of whole documents, in and out of domain.

    python benchmarks/vocab_quality.py --base tokenizer.model --anchor merged.model \
        --train train.jsonl.gz --valid valid.jsonl.gz --leave-out wiki medical_qa

Each domain of ``--valid`` that is named by ``--leave-out`` is kept wholly out of what extend-vocab learns from. The
command itself is run, once for each ``--pieces``; smaller sizes are prefixes of its result, each a tokenizer
of its own. Domains with little Chinese are not compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from tokenizer.encode import SentencePiece
from tokenizer.families import read_base
from tokenizer.measure import is_chinese
from tokenizer.merge import read_donor


def learn(args: argparse.Namespace, pieces: str, train: Path, folder: Path) -> list[str]:
    """Run extend-vocab and return its new pieces."""
    command = [sys.executable, "-m", "hanlm", "extend-vocab", "--base", str(args.base), "--corpus", str(train)]
    command += ["--num-new-tokens", str(max(args.sizes)), "--pieces", pieces, "--out", str(folder / pieces)]
    subprocess.run([*command, *args.options], check=True)
    report = json.loads((folder / pieces / "vocab_report.json").read_text(encoding="utf-8"))
    verification = report["verification"]
    print({name: verification[name] for name in ("dead_tokens", "changed_lines", "sentencepiece_fast_mismatches")})
    return report["new_pieces"]


def without(train: Path, domains: Sequence[str], folder: Path) -> Path:
    """Write the training text that is not of these domains."""
    kept = folder / "train.jsonl"
    with kept.open("w", encoding="utf-8") as file:
        for document in read_documents([train], Quarantine()):
            if document.domain not in domains:
                record = {"id": document.id, "text": document.text, "domain": document.domain}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return kept


def main() -> None:
    """Print a Markdown table for each choice of pieces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--anchor", type=Path, required=True, help="a SentencePiece model")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--leave-out", nargs="*", default=[])
    parser.add_argument("--sizes", type=int, nargs="+", default=[6_000, 10_000, 17_953])
    parser.add_argument("--pieces", nargs="+", default=["han+punct+space", "han"])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="further options of extend-vocab")
    args = parser.parse_args()
    valid: defaultdict[str, list[str]] = defaultdict(list)
    for document in read_documents([args.valid], Quarantine()):
        valid[document.domain].append(document.text)
    chinese = {domain: texts for domain, texts in valid.items() if is_chinese(texts)}
    groups = {
        "in domain": [domain for domain in chinese if domain not in args.leave_out],
        "out of domain": [domain for domain in chinese if domain in args.leave_out],
    }
    anchor = SentencePiece(read_donor(args.anchor), 2)
    theirs = {domain: anchor.count(texts) for domain, texts in chinese.items()}
    base = read_base(args.base)
    with tempfile.TemporaryDirectory() as name:
        train = without(args.train, args.leave_out, Path(name))
        for pieces in args.pieces:
            new = learn(args, pieces, train, Path(name))
            print(f"\n| {pieces} | " + " | ".join(f"{size:,}" for size in args.sizes) + " |")
            print("|---" * (len(args.sizes) + 1) + "|")
            ours = []
            for size in args.sizes:
                tokenizer = base.extended(new[:size], 2)
                ours.append({domain: tokenizer.count(texts) for domain, texts in chinese.items()})
            rows = {**{group: domains for group, domains in groups.items() if domains}, **{d: [d] for d in chinese}}
            for label, domains in rows.items():
                chars = sum(len(text) for domain in domains for text in chinese[domain])
                there = sum(theirs[domain] for domain in domains)
                here = [sum(counts[domain] for domain in domains) for counts in ours]
                cells = " | ".join(f"{n / chars:.4f} ({n / there - 1:+.1%})" for n in here)
                print(f"| {label} (published {there / chars:.4f}) | {cells} |", flush=True)


if __name__ == "__main__":
    main()
