"""Measure the quality rules beside datatrove's filters, on the same text and the same words in one run.

    python benchmarks/corpora_filters.py --input TEXTS.jsonl [--every 6] [--out RESULT.json]

Prints processor seconds for a megabyte of UTF-8 text, and stops if a verdict differs. datatrove's filters are given
the words that rjieba cut: with its own tokenizers, which cut anew for each filter, they take longer still.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))


def read_documents(path: Path, every: int) -> list[Any]:
    """Return every so manieth document of whatever ``hanlm corpus build`` reads."""
    from hanlm.quarantine import Quarantine
    from hanlm.records import read_documents

    return list(islice(read_documents([path], Quarantine(), split="all"), 0, None, every))


class Clock:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds = Counter[str]()

    def time(self, name: str, call: Callable[[], Any]) -> Any:
        """Return what the call returns."""
        start = time.process_time()
        result = call()
        self.seconds[name] += time.process_time() - start
        return result


def measure(documents: list[Any]) -> tuple[Clock, Counter[tuple[str, str]], int]:
    """Return the times, how many documents each domain lost by each reason, and how many verdicts differed."""
    import pytest
    from datatrove_filters import make_filter, reason_of, share_words

    from corpora.facts import Facts
    from corpora.filters.quality_limits import QualityConfig
    from corpora.filters.quality_registry import QUALITY_STEPS

    config, clock = QualityConfig(), Clock()
    rules = {name: QUALITY_STEPS[name].make(config) for name in QUALITY_STEPS}
    peers = {
        lang: {name: make_filter(name, limits) for name in rules}
        for lang, limits in (("zh", config.zh), ("en", config.en))
    }
    lost, num_different = Counter[tuple[str, str]](), 0
    with pytest.MonkeyPatch.context() as patch:
        share_words(patch)
        warm = "".join(map(chr, range(0x4E00, 0x5200)))
        for name, rule in rules.items():
            rule(Facts(warm, "zh"))
            reason_of(name, peers["zh"][name], warm)
        for document in documents:
            facts = Facts(document.text, document.lang)
            clock.time("words", lambda: facts.words)  # noqa: B023
            clock.time("words as arrays", lambda: facts.spans)  # noqa: B023
            peer = peers["zh" if facts.is_chinese else "en"]
            reason_of("fineweb-quality", peer["fineweb-quality"], facts.text)  # so that datatrove has the words too
            first = None
            for name, rule in rules.items():
                ours = clock.time(name, lambda: rule(facts))  # noqa: B023
                theirs = clock.time(f"datatrove {name}", lambda: reason_of(name, peer[name], facts.text))  # noqa: B023
                num_different += ours != theirs
                first = first or ours
            lost[document.domain, first or "kept"] += 1
    return clock, lost, num_different


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    documents = read_documents(options.input, options.every)
    megabytes = sum(len(document.text.encode()) for document in documents) / 1e6
    clock, lost, num_different = measure(documents)
    seconds = {name: total / megabytes for name, total in clock.seconds.items()}
    names = [name for name in seconds if f"datatrove {name}" in seconds]
    seconds["all rules"] = sum(seconds[name] for name in [*names, "words as arrays"])
    seconds["datatrove all rules"] = sum(seconds[f"datatrove {name}"] for name in names)
    print(f"{len(documents)} documents, {megabytes:.2f} MB, {num_different} verdicts differ; seconds for a megabyte:")
    for name in ("words", "words as arrays", *names, "all rules"):
        peer = f"{seconds[key]:.3f}" if (key := f"datatrove {name}") in seconds else ""
        print(f"{name:20}{seconds[name]:8.3f}   datatrove {peer or '-'}")
    domains = Counter({domain: 0 for domain, _ in lost})
    for (domain, _), count in lost.items():
        domains[domain] += count
    for domain, total in sorted(domains.items()):
        reasons = sorted(
            ((count, reason) for (name, reason), count in lost.items() if name == domain and reason != "kept"),
            reverse=True,
        )
        share = sum(count for count, _ in reasons) / total
        worst = ", ".join(f"{reason} {count}" for count, reason in reasons[:4])
        print(f"{domain:20}{total:6} documents{share:7.1%} dropped   {worst}")
    if options.out:
        options.out.write_text(json.dumps({"megabytes": megabytes, "seconds_per_megabyte": seconds}, indent=2) + "\n")
    if num_different:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
