"""Measure deduplication: what MinHash finds of the pairs that brute force finds, and what every step costs.

    python benchmarks/corpora_dedup.py --input TEXTS.jsonl

The sample is documents of the input and copies of them with edits of two kinds: characters changed here and there,
and whole sentences changed. The truth is the Jaccard similarity of the exact sets of character 5-grams of all pairs.
A pair counts as found when the two signatures have an equal band. Prints processor seconds on one thread.
"""

import argparse
import itertools
import json
import random
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from loguru import logger

type Pairs = set[tuple[int, int]]

EDITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
SIMILARITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def read_texts(path: Path, megabytes: float) -> list[str]:
    """Return texts of whatever ``hanlm corpus build`` reads, normalised, each once."""
    from hanlm.quarantine import Quarantine
    from hanlm.records import read_documents
    from hanlm.text import normalise

    texts, num_bytes = dict[str, None](), 0
    for document in read_documents([path], Quarantine(), split="all"):
        texts[normalise(document.text)] = None
        num_bytes += len(document.text.encode())
        if num_bytes > megabytes * 1e6:
            break
    return [text for text in texts if text]


def scattered(draw: random.Random, text: str, share: float) -> str:
    """Replace, drop or double single characters."""
    edits = [lambda _: draw.choice(text), lambda _: "", lambda char: char + draw.choice(text)]
    return "".join(draw.choice(edits)(char) if draw.random() < share else char for char in text)


def by_sentence(draw: random.Random, text: str, share: float) -> str:
    """Drop sentences, or write their characters in another order."""
    sentences = re.findall(r"[^。！？\n]*[。！？\n]?", text)
    changed = [lambda _: "", lambda sentence: "".join(draw.sample(sentence, len(sentence)))]
    return "".join(draw.choice(changed)(part) if draw.random() < share else part for part in sentences)


def with_copies(texts: Sequence[str], num_copies: int) -> tuple[list[str], dict[tuple[str, float], Pairs]]:
    """Return the texts with ``num_copies`` edited ones of each kind and share, and which pairs these make."""
    draw = random.Random(0)
    sample, planted = list(texts), dict[tuple[str, float], Pairs]()
    for edit, share in itertools.product((scattered, by_sentence), EDITS):
        pairs = planted[edit.__name__, share] = set()
        for original in draw.sample(range(len(texts)), num_copies):
            pairs.add((original, len(sample)))
            sample.append(edit(draw, texts[original], share))
    return sample, planted


def jaccard(shingle_sets: Sequence[Any]) -> dict[tuple[int, int], float]:
    """Return the similarity of every pair that has some, by multiplying the table of who has what with itself."""
    from scipy.sparse import csr_array

    sets = [np.unique(shingles) for shingles in shingle_sets]
    sizes = np.array([len(one) for one in sets])
    columns = np.unique(np.concatenate(sets), return_inverse=True)[1]
    table = csr_array(
        (np.ones(len(columns), np.int32), columns, np.concatenate([[0], np.cumsum(sizes)])),
        shape=(len(sets), int(columns.max()) + 1),
    )
    similarity: dict[tuple[int, int], float] = {}
    for start in range(0, len(sets), 200):
        shared = (table[start : start + 200] @ table.T).tocoo()
        rows = shared.row + start
        upper = rows < shared.col
        rows, cols, both = rows[upper], shared.col[upper], shared.data[upper]
        values = both / (sizes[rows] + sizes[cols] - both)
        some = values >= SIMILARITIES[0]
        pairs = zip(rows[some].tolist(), cols[some].tolist(), strict=True)
        similarity |= dict(zip(pairs, values[some].tolist(), strict=True))
    return similarity


def band_pairs(folder: Path, rows: int) -> Pairs:
    """Return all pairs with an equal band in signature files, which are datatrove's and ours alike."""
    pairs: Pairs = set()
    for path in sorted(folder.glob("bucket_*/00000.minhash.sig")):
        groups: dict[bytes, list[int]] = {}
        for record in np.fromfile(path, dtype=[("band", f"V{8 * rows}"), ("document", "<u4")]):
            groups.setdefault(record["band"].tobytes(), []).append(int(record["document"]))
        for group in groups.values():
            pairs.update(itertools.combinations(sorted(group), 2))
    return pairs


def sign(texts: Sequence[str], config: Any, folder: Path) -> None:
    """Write our signatures."""
    from corpora.dedup.minhash import MinhashWriter
    from corpora.facts import Facts

    writer = MinhashWriter(folder, 0, config)
    for number, text in enumerate(texts):
        writer.add(number, Facts(text))
    writer.close()


class RustJieba:
    """rjieba in place of datatrove's jieba, which is thirty times slower."""

    def word_tokenize(self, text: str) -> list[str]:
        import rjieba

        return [word for part in rjieba.cut(text, False) if (word := part.strip())]


def sign_with_datatrove(texts: Sequence[str], folder: Path) -> None:
    """Write datatrove's signatures by its own step."""
    from datatrove.data import Document
    from datatrove.io import get_datafolder
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from xxhash import xxh64_intdigest

    step: Any = MinhashDedupSignature.__new__(MinhashDedupSignature)
    PipelineStep.__init__(step)
    step.config, step._parameters, step.skip_existing_sigs = MinhashConfig(), None, False
    step.output_folder, step.num_hashes = get_datafolder(str(folder / "near")), 14 * 8
    # Its own function gives xxhash a str, which xxhash refuses since version 4.
    step._hash_func, step.word_tokenizer = lambda text: xxh64_intdigest(text.encode()), RustJieba()
    step.run(Document(text=text, id=str(number)) for number, text in enumerate(texts))


def cpu(work: Callable[[], Any]) -> float:
    """Return the processor seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def megabytes_of(texts: Sequence[str]) -> float:
    """Return the size of texts."""
    return sum(len(text.encode()) for text in texts) / 1e6


def recall_tables(texts: Sequence[str], num_copies: int, folder: Path) -> dict[str, Any]:
    """Compare what each way of signing finds with what brute force finds."""
    from corpora.dedup.config import DedupConfig
    from corpora.dedup.minhash import shingle_hashes
    from corpora.facts import Facts

    sample, planted = with_copies(texts, num_copies)
    ways: dict[str, Any] = {
        "chars": DedupConfig(),
        "words": DedupConfig(shingles="words"),
        "chars 20x5": DedupConfig(bands=20, rows=5),
        "datatrove": None,
    }
    found: dict[str, Pairs] = {}
    for name, config in ways.items():
        out = folder / name
        write = (lambda out=out: sign_with_datatrove(sample, out)) if config is None else None
        seconds = cpu(write or (lambda config=config, out=out: sign(sample, config, out)))
        print(f"{name:12} signatures: {seconds / megabytes_of(sample):7.4f} s/MB", flush=True)
        found[name] = band_pairs(out / "near", config.rows if config else 8)
    truth = jaccard([shingle_hashes(Facts(text), DedupConfig()) for text in sample])
    rows = [*_by_similarity(truth, found), *_by_edit(planted, found), *_precision(truth, found)]
    return {"documents": len(sample), "megabytes": megabytes_of(sample), "rows": rows}


def _by_similarity(truth: dict[tuple[int, int], float], found: dict[str, Pairs]) -> Iterator[dict[str, Any]]:
    for low, high in itertools.pairwise(SIMILARITIES):
        pairs = {pair for pair, value in truth.items() if low <= value < high or (high == 1.0 == value)}
        if not pairs:
            continue
        mean = sum(1 - (1 - truth[pair] ** 8) ** 14 for pair in pairs) / len(pairs)
        shares = {name: len(pairs & theirs) / len(pairs) for name, theirs in found.items()}
        yield {"of pairs": f"Jaccard {low:.1f} to {high:.1f}", "pairs": len(pairs), "theory": mean, **shares}


def _by_edit(planted: dict[tuple[str, float], Pairs], found: dict[str, Pairs]) -> Iterator[dict[str, Any]]:
    for (edit, share), pairs in planted.items():
        shares = {name: len(pairs & theirs) / len(pairs) for name, theirs in found.items()}
        yield {"of pairs": f"{edit} {share:.0%}", "pairs": len(pairs), **shares}


def _precision(truth: dict[tuple[int, int], float], found: dict[str, Pairs]) -> Iterator[dict[str, Any]]:
    for limit in (0.4, 0.5, 0.6, 0.7):
        right = {name: sum(truth.get(pair, 0.0) >= limit for pair in theirs) for name, theirs in found.items()}
        shares = {name: right[name] / len(theirs) for name, theirs in found.items() if theirs}
        yield {"of pairs": f"precision: found pairs of Jaccard {limit} or more", **shares}
    yield {"of pairs": "found pairs", **{name: len(theirs) for name, theirs in found.items()}}


def costs(texts: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the processor seconds a megabyte of every step, and the most memory so far."""
    from corpora.dedup.config import DedupConfig
    from corpora.dedup.removals import Removals
    from corpora.dedup.signatures import SignatureWriter
    from corpora.dedup.stages import dedup_stages
    from corpora.facts import Facts

    num_tasks, size = 8, megabytes_of(texts)

    def write(config: Any, out: Path) -> None:
        for task in range(num_tasks):
            writer = SignatureWriter(out, task, config)
            for text in texts[task::num_tasks]:
                writer.add(Facts(text))
            writer.close()

    def row(name: str, work: Callable[[], Any]) -> dict[str, Any]:
        seconds = cpu(work) / size
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return {"step": name, "seconds_per_mb": seconds, "most_memory_mib": memory}

    off: dict[str, Any] = {"near": False}
    for name, config in {
        "keys alone": DedupConfig(**off),
        "keys, lines": DedupConfig(lines=True, **off),
        "keys, substrings": DedupConfig(substrings=True, **off),
        "keys, MinHash": DedupConfig(),
    }.items():
        yield row(f"signatures: {name}", lambda config=config: write(config, folder / "alone"))
    everything, out = DedupConfig(lines=True, substrings=True), folder / "all"
    yield row("signatures: all", lambda: write(everything, out))
    for stage in dedup_stages(out, num_tasks, everything, int(size * 1e6), index_out=folder / "index"):
        parts = range(stage.num_tasks)
        yield row(
            stage.name, lambda s=stage, parts=parts: [s.pipeline[0].run(None, part, len(parts)) for part in parts]
        )

    def cut() -> None:
        for task in range(num_tasks):
            removals = Removals.load(out, task, everything)
            for number, text in enumerate(texts[task::num_tasks]):
                if removals.reason(number) is None:
                    removals.apply(number, text)

    yield row("removals applied", cut)
    yield row("datatrove's MinhashDedupBuckets on the same files", lambda: _datatrove_buckets(out, folder))


def passages(texts: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield how much of quoted passages is found, and how much is cut as whole sentences, by their length."""
    from corpora.dedup.config import DedupConfig
    from corpora.dedup.cuts import agreed_cuts
    from corpora.dedup.removals import Removals
    from corpora.dedup.signatures import SignatureWriter
    from corpora.dedup.stages import dedup_stages
    from corpora.facts import Facts

    draw, config = random.Random(0), DedupConfig(exact=False, near=False, substrings=True)
    long = [text for text in texts if len(text) > 2000]
    signed, unsigned = long[: len(long) // 2], long[len(long) // 2 :]
    for length in (100, 150, 200, 300, 500, 1000):
        out = folder / f"passages-{length}"
        spans: list[tuple[int, int]] = []
        hosts: list[str] = []
        for _ in range(200):
            source, host = draw.choice(signed), draw.choice(unsigned)
            start, at = draw.randrange(len(source) - length), draw.randrange(len(host))
            hosts.append(host[at : at + 300] + source[start : start + length] + host[at + 300 : at + 600])
            spans.append((len(host[at : at + 300]), len(host[at : at + 300]) + length))
        for task, part in enumerate((signed, hosts)):
            writer = SignatureWriter(out, task, config)
            for text in part:
                writer.add(Facts(text))
            writer.close()
        for stage in dedup_stages(out, 2, config, 0):
            for part in range(stage.num_tasks):
                stage.pipeline[0].run(None, part, stage.num_tasks)
        taken = [np.zeros(len(host), dtype=bool) for host in hosts]
        cuts = agreed_cuts(out, 1, config.min_substring)
        for cut in cuts:
            taken[cut["document"]][cut["start"] : cut["end"]] = True
        found = sum(int(one[first:end].sum()) for one, (first, end) in zip(taken, spans, strict=True))
        removals = Removals.load(out, 1, config)
        sentences = sum(removals.apply(number, host)[1]["chars"] for number, host in enumerate(hosts))
        every = sum(int(one.sum()) for one in taken)
        yield {
            "passage": f"{length} characters",
            "found of it": found / (length * len(hosts)),
            "of what is found, cut as whole sentences": sentences / every if every else 0.0,
        }


def _datatrove_buckets(source: Path, folder: Path) -> None:
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets

    step: Any = MinhashDedupBuckets(str(source / "near"), str(folder / "theirs"), config=MinhashConfig())
    for part in range(14):
        step.run(None, part, 14)


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    print(" | ".join(names))
    for row in rows:
        cells = [row.get(name, "") for name in names]
        print(" | ".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="Chinese text: jsonl, txt, parquet, or a corpus.")
    parser.add_argument("--documents", type=int, default=3000, help="Documents of the sample that are real.")
    parser.add_argument("--copies", type=int, default=150, help="Edited copies of each kind and share.")
    parser.add_argument("--megabytes", type=float, default=60.0, help="Text that the costs are measured on.")
    parser.add_argument("--out", type=Path, help="Write the rows here as JSON.")
    args = parser.parse_args()
    logger.disable("datatrove")
    folder = Path(tempfile.mkdtemp(prefix="corpora-dedup-"))
    try:
        texts = read_texts(args.input, args.megabytes)
        list(costs(texts[:50], folder / "warm"))  # compilation and imports are not what is measured
        sample = random.Random(0).sample(texts, min(args.documents, len(texts)))
        rows = list(costs(texts, folder / "costs"))
        show(rows)
        recall = recall_tables(sample, args.copies, folder / "recall")
        show(recall["rows"])
        quoted = list(passages(sample, folder))
        show(quoted)
    finally:
        shutil.rmtree(folder)
    if args.out:
        args.out.write_text(
            json.dumps({"recall": recall, "costs": rows, "passages": quoted}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
