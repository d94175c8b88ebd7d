"""Signatures: equal to datatrove's, and what they do not see."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dedup_runs import chinese, edited, sign, split

from corpora.dedup.config import DedupConfig
from corpora.dedup.copies import FindNearCopies
from corpora.dedup.minhash import band_file, permutations, shingle_hashes, signature
from corpora.dedup.records import open_array, task_file
from corpora.dedup.signatures import SignatureWriter
from corpora.facts import Facts
from hanlm.errors import ArtifactError, ConfigError

CONFIG = DedupConfig()


def datatrove_signature(config: DedupConfig) -> Any:
    """Return datatrove's own step, without a word tokenizer of a language."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    step = MinhashDedupSignature.__new__(MinhashDedupSignature)
    step.config = MinhashConfig(num_buckets=config.bands, hashes_per_bucket=config.rows, seed=config.seed)
    step.num_hashes, step._parameters = config.bands * config.rows, None
    return step


@pytest.mark.parametrize("bands", [14, 3])
@pytest.mark.parametrize("num_shingles", [1, 2, 3, 4, 5, 1000])
def test_a_signature_is_the_one_datatrove_makes_of_the_same_shingles(num_shingles: int, bands: int) -> None:
    config = DedupConfig(bands=bands, seed=7)
    shingles = np.random.default_rng(num_shingles).integers(0, 2**64, num_shingles, dtype=np.uint64)
    expected = datatrove_signature(config).get_signature(shingles.reshape(-1, 1))
    assert signature(shingles, config).reshape(bands, config.rows).tolist() == expected


def test_signatures_equal_datatroves_where_a_product_is_a_multiple_of_the_prime() -> None:
    prime = 2**61 - 1
    seed = next(seed for seed in range(20) if permutations(2, seed)[0][0] % 2)  # an odd factor has an inverse
    config = DedupConfig(bands=1, rows=2, seed=seed)
    a, b = (int(values[0]) for values in permutations(2, seed))
    for value in [multiple * prime + rest for multiple in range(8) for rest in (-1, 0, 1, 7)]:
        shingle = np.array([(value - b) * pow(a, -1, 2**64) % 2**64], dtype=np.uint64)
        expected = datatrove_signature(config).get_signature(shingle.reshape(1, 1))[0]
        assert expected[0] == value % 2**64 % prime
        assert signature(shingle, config).tolist() == expected


@pytest.mark.parametrize("kind", ["chars", "words"])
def test_punctuation_blanks_and_case_change_no_shingle(kind: Any) -> None:
    config = DedupConfig(shingles=kind, ngram=3)
    plain = shingle_hashes(Facts("今天天气很好 我们去公园 看 Hello World 展览"), config)
    dressed = shingle_hashes(Facts("今天天气很好，我们去公园，\n看「HELLO world」展览！"), config)
    assert len(plain) > 5
    assert plain.tolist() == dressed.tolist()


def test_texts_with_equal_shingles_have_equal_hashes_and_others_not() -> None:
    def texts_of(text: str) -> list[str]:
        return [text[i : i + 5] for i in range(len(text) - 4)]

    draw = random.Random(1)
    text = "".join(draw.choice("的一是在不了有和人这") for _ in range(3000))
    hashes = shingle_hashes(Facts(text), CONFIG)
    assert len(hashes) == len(texts_of(text))
    assert len(set(zip(texts_of(text), hashes.tolist(), strict=True))) == len(set(texts_of(text))) == len(set(hashes))


def test_a_text_too_short_for_a_shingle_has_no_signature_but_a_key(tmp_path: Path) -> None:
    sign([["短文。", "……", "够长的一段文字。"]], CONFIG, tmp_path)
    assert len(open_array(task_file(tmp_path, "exact", 0))) == 3
    assert band_file(tmp_path, 0, 0).stat().st_size == 68


def components(pairs: set[tuple[tuple[int, int], tuple[int, int]]]) -> set[frozenset[tuple[int, int]]]:
    groups: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for left, right in pairs:
        joined = groups.get(left, {left}) | groups.get(right, {right})
        for member in joined:
            groups[member] = joined
    return {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("ranges", [1, 3])
def test_datatroves_own_step_finds_the_same_copies_in_the_same_files(tmp_path: Path, ranges: int) -> None:
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets

    draw = random.Random(3)
    texts = [chinese(draw, 300) for _ in range(60)]
    texts += [edited(draw, draw.choice(texts), 0.02) for _ in range(60)]
    texts += texts[:5]
    tasks = split(texts, [50, 0, 40])
    sign(tasks, CONFIG, tmp_path)
    theirs = MinhashDedupBuckets(str(tmp_path / "near"), str(tmp_path / "theirs"), config=MinhashConfig())
    ours = FindNearCopies(tmp_path, len(tasks), CONFIG)
    for part in range(14 * ranges):
        ours.run(None, part, 14 * ranges)
    for part in range(14):
        theirs.run(None, part, 14)
    mine, others = set[Any](), set[Any]()
    for part in range(14 * ranges):
        for row in open_array(task_file(tmp_path, "found/near", part)).tolist():
            mine.add((row[:2], row[2:]))
    for file in (tmp_path / "theirs").glob("*.dups"):
        for row in np.fromfile(file, dtype="<u4").reshape(-1, 4).tolist():
            others.add(((row[0], row[1]), (row[2], row[3])))
    assert len(others) > 60
    assert components(mine) == components(others)


def test_signature_files_are_the_same_bytes_on_every_run(tmp_path: Path) -> None:
    texts = [chinese(random.Random(seed), 400) for seed in range(20)]
    config = DedupConfig(lines=True, substrings=True, max_line_documents=1)
    for name in ("a", "b"):
        sign([texts], config, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 3 + 14
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


@pytest.mark.parametrize("max_rows", [1, 64, 700])
def test_what_does_not_fit_in_memory_is_sorted_on_the_disk_into_the_same_bytes(tmp_path: Path, max_rows: int) -> None:
    draw = random.Random(8)
    texts = [chinese(draw, draw.randrange(5, 400)) + "\n这一行在每一篇文章里都有。" for _ in range(100)]
    texts += texts[:30]
    config = DedupConfig(lines=True, substrings=True)
    sign([texts], config, tmp_path / "at once")
    for _ in range(2):  # the second time over what a killed try left behind
        writer = SignatureWriter(tmp_path / "by runs", 0, config, max_rows)
        for text in texts:
            writer.add(Facts(text))
    assert any((tmp_path / "by runs/scratch").rglob("*.npy"))
    writer.close()
    files = sorted(path.relative_to(tmp_path / "at once") for path in (tmp_path / "at once").rglob("*.*"))
    assert len(files) == 3 + 14
    assert files == sorted(path.relative_to(tmp_path / "by runs") for path in (tmp_path / "by runs").rglob("*.*"))
    assert all(
        (tmp_path / "at once" / file).read_bytes() == (tmp_path / "by runs" / file).read_bytes() for file in files
    )


def test_a_cut_signature_file_is_refused_by_name(tmp_path: Path) -> None:
    sign([["够长的一段文字。"]], CONFIG, tmp_path)
    path = band_file(tmp_path, 2, 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"bucket_002/00000\.minhash\.sig"):
        FindNearCopies(tmp_path, 1, CONFIG).run(None, 2, 14)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"bands": 0}, "bands"),
        ({"shingles": "bytes"}, "shingles"),
        ({"winnow": 60}, "winnow"),
        ({"window": 80, "min_substring": 100}, "window"),
        ({"min_substring": 20}, "min_substring"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_with_the_key(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        DedupConfig(**wrong)
