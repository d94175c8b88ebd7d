"""How often ``corpora.filters.language`` and lingua name the right language, by length, and how fast both are.

    python benchmarks/corpora_language.py [--input DOCUMENTS.jsonl.gz] [--out FIGURES.json]

Texts are cut at random places from sentences joined in random order. lingua (4 languages: Chinese, Japanese, Korean,
English) knows neither scripts nor Cantonese, so it is asked for the language alone. ``--input`` also measures the
speed on documents. Everything runs on one thread; time is the processor's.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import yaml

SAMPLES = Path(__file__).parent.parent / "tests/support/language_samples.yaml"
LENGTHS = (20, 50, 200, 1000)
LINGUA = ("zh", "ja", "ko", "en")
_CONVERTED = {"zh-Hant": ("zh-Hans", "s2twp"), "yue-Hans": ("yue-Hant", "hk2s")}


def sentences() -> dict[str, list[str]]:
    """Return sentences by language tag."""
    import opencc

    samples: dict[str, list[str]] = yaml.safe_load(SAMPLES.read_text(encoding="utf-8"))
    for tag, (source, config) in _CONVERTED.items():
        samples[tag] = [opencc.OpenCC(config).convert(text) for text in samples[source]]
    return samples


def cuts(texts: list[str], length: int, number: int, seed: int = 0) -> list[str]:
    """Return ``number`` texts of ``length`` characters, each from a random place of the sentences in random order."""
    rng = random.Random(seed)
    result: list[str] = []
    while len(result) < number:
        joined = ""
        while len(joined) < 2 * length + 200:
            joined += "".join(rng.sample(texts, len(texts)))
        start = rng.randrange(len(joined) - length)
        result.append(joined[start : start + length])
    return result


def accuracy(number: int) -> list[dict[str, object]]:
    """Return one row a tag and length: shares of right tags, of right languages, and of lingua's right languages."""
    from corpora.filters.language import identify
    from corpora.filters.lingua import detect_language

    rows: list[dict[str, object]] = []
    for tag, texts in sentences().items():
        language = "zh" if tag.startswith(("zh", "yue")) else tag
        for length in LENGTHS:
            samples = cuts(texts, length, number)
            found = [identify(text) for text in samples]
            ours = ["zh" if one.lang == "yue" else one.lang for one in found]
            theirs = [detect_language(text, LINGUA) for text in samples]
            rows.append(
                {
                    "tag": tag,
                    "length": length,
                    "tag_right": sum(one.tag == tag for one in found) / number,
                    "language_right": ours.count(language) / number,
                    "lingua_language_right": theirs.count(language) / number,
                }
            )
    return rows


def speed(path: Path, max_bytes: int) -> dict[str, float]:
    """Return megabytes of UTF-8 a second for both, on the first documents."""
    from corpora.filters.language import identify
    from corpora.filters.lingua import detect_language
    from hanlm.quarantine import Quarantine
    from hanlm.records import read_documents

    texts, num_bytes = [], 0
    for document in read_documents([path], Quarantine(), split="all"):
        texts.append(document.text)
        num_bytes += len(document.text.encode())
        if num_bytes >= max_bytes:
            break
    asked: dict[str, Callable[[str], object]] = {
        "hanlm": identify,
        "lingua_whole_text": lambda text: detect_language(text, LINGUA),
        "lingua_first_1000_chars": lambda text: detect_language(text[:1000], LINGUA),
    }
    rates: dict[str, float] = {}
    for name, ask in asked.items():
        ask(texts[0])
        start = time.process_time()
        for text in texts:
            ask(text)
        rates[name] = num_bytes / 1e6 / (time.process_time() - start)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="documents to measure the speed on")
    parser.add_argument("--number", type=int, default=200, help="texts of each language and length")
    parser.add_argument("--max-bytes", type=int, default=2_000_000, help="bytes of documents to measure on")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    figures: dict[str, object] = {"accuracy": (rows := accuracy(args.number))}
    print(f"{'tag':10}{'length':>8}{'tag':>8}{'lang':>8}{'lingua':>8}")
    for row in rows:
        shares = "".join(f"{row[name]:8.3f}" for name in ("tag_right", "language_right", "lingua_language_right"))
        print(f"{row['tag']:10}{row['length']:8}{shares}")
    if args.input:
        figures["mb_per_second"] = (rates := speed(args.input, args.max_bytes))
        for name, rate in rates.items():
            print(f"{name:28}{rate:8.1f} MB/s")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
