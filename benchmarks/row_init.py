"""Measure what new rows should start as, what pieces should hold, and whether extension pays, by short equal training.

    python benchmarks/row_init.py ways   --base recipes/demo/base --zh corpus-zh --en corpus-en --work DIR
    python benchmarks/row_init.py pieces --base recipes/demo/base --zh corpus-zh --en corpus-en --work DIR
    python benchmarks/row_init.py sizes  --base recipes/demo/base --zh corpus-zh --en corpus-en --work DIR

The corpora are those of the demo (`hanlm run demo` leaves them in RUN/corpus-zh and RUN/corpus-en), or any two that
`hanlm corpus build` wrote. Every run sees the same documents in the same order for a seed, at the same constant rate, a
quarter of the rows English. Held-out text is the corpora's valid split. Finished runs are kept in DIR/results.jsonl
and not repeated.

ways: one vocabulary, each way of starting its rows. Steps that a way itself trains count as steps of training.
pieces: the same number of new tokens, by what they may hold; after the same text, and after the same FLOPs.
sizes: 0 (no extension) to 12,000 new tokens, likewise, and the seconds that a generated character takes.
"""

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from short_training import Point, Texts, Training, read_texts, train

from hanlm.models import load_model
from hanlm.text import CJK_PUNCTUATION
from hanlm.tokenizing import load_tokenizer
from tokenizer.extend import FITTED, ExtendConfig, extend
from tokenizer.families import read_base
from tokenizer.fit_rows import fit_rows
from tokenizer.forms import Forms
from tokenizer.model import write_model
from tokenizer.reservoir import Reservoir
from tokenizer.rows import plan_rows
from tokenizer.write import write_tokenizer

WAYS = ("random", "mean", "sub-token-mean", "convex-hull", "merge-tree", "calibrated", "distilled")
PIECES = ("han", "han+punct", "han+punct+space")
SIZES = (0, 1_000, 3_000, 6_000, 12_000)
MIN_MARK = 20
"""Occurrences of a punctuation mark that gets a piece of its own beside pieces of characters."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every run shares."""

    base: Path
    zh: Path
    work: Path
    texts: Texts
    training: Training

    def extended(self, size: int, **options: Any) -> Path:
        """Return the base extended by ``size`` tokens; made once."""
        name = "-".join([str(size), *(str(value) for value in options.values())])
        out = self.work / f"extended-{name}"
        if not out.is_dir():
            extend(ExtendConfig(base=self.base, corpus=(self.zh,), num_new_tokens=size, out=out, workers=1, **options))
        return out

    def run(self, key: str, folder: Callable[[], Path], seed: int, **marks: Sequence[float]) -> list[Point]:
        """Train a folder's model and keep its points; a run that is kept already is not repeated."""
        kept = self.work / "results.jsonl"
        key = f"{key} seed {seed} {marks}"
        for line in kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []:
            record = json.loads(line)
            if record["key"] == key:
                return [Point(**point) for point in record["points"]]
        path = folder()
        model, tokenizer = load_model(path, dtype=torch.float32), load_tokenizer(path)
        points = train(model, tokenizer, self.texts, self.training, seed=seed, **marks)
        record = {"key": key, "points": [asdict(point) for point in points]}
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return points


def started(bench: Bench, vocabulary: Path, way: str, fit_steps: int, seed: int) -> Path:
    """Return the base with the vocabulary of an extended folder, its rows started in one of the ways."""
    out = bench.work / "started"
    shutil.rmtree(out, ignore_errors=True)
    write_started(bench, read_base(vocabulary).forms(), out, way, fit_steps, seed)
    return out


def write_started(bench: Bench, new: Forms, out: Path, way: str, fit_steps: int, seed: int) -> None:
    """Write the base with another tokenizer and rows for it."""
    out.mkdir(parents=True)
    base = read_base(bench.base)
    write_tokenizer(base, new, out)
    start: Any = "merge-tree" if way in FITTED else way
    spelled = new.spelled_by(base.forms(), base.num_tokens)
    parents = new.merge_parents(base.num_tokens) if start == "merge-tree" else spelled
    write_model(base, out, plan_rows(start, parents, base.num_tokens, seed), 1)
    if way in FITTED:
        fit_rows(out, way, sample_of(bench.texts.zh), spelled, base.num_tokens, seed, fit_steps)


def with_single_marks(bench: Bench, size: int, init: str) -> Path:
    """Return the base with pieces of Chinese characters, and its frequent punctuation as pieces of one mark each.

    Without them a base that spells such marks in bytes would be blamed for that, not for what pieces hold.
    """
    out = bench.work / f"extended-{size}-han-and-marks-{init}"
    if not out.is_dir():
        han = bench.extended(size, pieces="han", init=init)
        pieces = json.loads((han / "vocab_report.json").read_text(encoding="utf-8"))["new_pieces"]
        counts = Counter("".join(bench.texts.zh))
        marks = [mark for mark in sorted(CJK_PUNCTUATION) if counts[mark] >= MIN_MARK]
        write_started(bench, read_base(bench.base).extended([*marks, *pieces[: size - len(marks)]]), out, init, 1, 0)
    return out


def sample_of(texts: Sequence[str]) -> list[str]:
    """Return the text that extend-vocab would fit rows to."""
    reservoir = Reservoir()
    for text in texts:
        reservoir.add(text)
    return reservoir.texts


def ways(bench: Bench, args: argparse.Namespace) -> None:
    """Print bits per character at equal numbers of steps, a way's own steps counted."""
    vocabulary = bench.extended(args.size)
    print("| way | seed | " + " | ".join(f"{n} steps" for n in (0, *args.steps)) + " | English |")
    print("|---" * (len(args.steps) + 4) + "|")
    for way in args.only or WAYS:
        own = args.fit_steps if way == "distilled" else 0
        for seed in args.seeds:
            marks = [n - own for n in args.steps if n > own]
            points = bench.run(
                f"ways {args.size} {way} {own}",
                lambda way=way, seed=seed: started(bench, vocabulary, way, args.fit_steps, seed),
                seed,
                steps=marks,
            )
            at = {point.steps + own: point for point in points}
            cells = [f"{at[n].zh_bits_per_char:.3f}" if n in at else "" for n in (0, *args.steps)]
            last = points[-1].en_bits_per_byte
            print(f"| {way} | {seed} | " + " | ".join(cells) + f" | {last:.3f} |", flush=True)


def compared(bench: Bench, args: argparse.Namespace, folders: dict[str, Callable[[], Path]]) -> None:
    """Print bits per character after equal text and after equal FLOPs."""
    print("| | seed | tokens per character | before | same text | same FLOPs | English, same FLOPs | seconds a 1,000 |")
    print("|---" * 8 + "|")
    chars, flops = args.chars, args.flops * 1e12
    for label, folder in folders.items():
        for seed in args.seeds:
            points = bench.run(folder().name, folder, seed, chars=[chars], flops=[flops])
            text = next(point for point in points if point.chars >= chars)
            equal = next(point for point in points if point.flops >= flops)
            tokenizer = load_tokenizer(folder())
            ids = tokenizer(bench.texts.valid_zh, add_special_tokens=False)["input_ids"]
            per_char = sum(map(len, ids)) / sum(map(len, bench.texts.valid_zh))
            speed = 1000 * per_char * seconds_per_token(folder())
            cells = [f"{per_char:.3f}", f"{points[0].zh_bits_per_char:.3f}", f"{text.zh_bits_per_char:.3f}"]
            cells += [f"{equal.zh_bits_per_char:.3f}", f"{equal.en_bits_per_byte:.3f}", f"{speed:.2f}"]
            print(f"| {label} | {seed} | " + " | ".join(cells) + " |", flush=True)


def seconds_per_token(path: Path, num_tokens: int = 100, repeats: int = 5) -> float:
    """Return the processor seconds of one generated token, one text at a time, with a cache: the best of some."""
    model: Any = load_model(path, dtype=torch.float32)
    ids = torch.tensor([[1, 50, 60, 70]])
    taken: list[float] = []
    for _ in range(repeats):
        start = time.process_time()
        model.generate(ids, max_new_tokens=num_tokens, min_new_tokens=num_tokens, do_sample=False)
        taken.append((time.process_time() - start) / num_tokens)
    return min(taken)


def main() -> None:
    """Run one of the three measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=["ways", "pieces", "sizes"])
    for name in ("base", "zh", "en", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, default=6_000, help="new tokens, for ways and pieces")
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100], help="for ways: when to measure")
    parser.add_argument("--fit-steps", type=int, default=25, help="for ways: steps of distillation")
    parser.add_argument("--only", nargs="+", help="for ways: these alone")
    parser.add_argument("--chars", type=float, default=15_000, help="same text: Chinese characters")
    parser.add_argument("--flops", type=float, default=3.0, help="same FLOPs: of training, in 10^12")
    parser.add_argument("--pieces", default="han+punct+space", help="for sizes")
    parser.add_argument("--init", default="merge-tree", help="for pieces and sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    texts = read_texts(args.zh, args.en, num_valid_zh=300, num_valid_en=100)
    bench = Bench(base=args.base, zh=args.zh, work=args.work, texts=texts, training=Training())
    if args.measure == "ways":
        ways(bench, args)
        return
    if args.measure == "pieces":
        options = [(pieces, args.size, {"pieces": pieces, "init": args.init}) for pieces in PIECES]
    else:
        options = [(f"{size:,} new", size, {"pieces": args.pieces, "init": args.init}) for size in SIZES]
    folders = {
        label: lambda size=size, more=more: bench.extended(size, **more) if size else bench.base
        for label, size, more in options
    }
    if args.measure == "pieces":
        folders["han, and single marks"] = lambda: with_single_marks(bench, args.size, args.init)
    compared(bench, args, folders)


if __name__ == "__main__":
    main()
