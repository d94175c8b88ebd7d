"""Bad input and bad luck in ``hanlm corpus build``: one clear error, nothing half-written, nothing good lost."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpora.build import BuildConfig, build
from corpora.engine.run import run_stage
from corpora.sources.source import Fields, Source
from corpora.steps.reading import MOST_LABELS
from hanlm.artifact import open_artifact
from hanlm.errors import ArtifactError, InputError, Interrupted
from hanlm.publish import work_folder
from hanlm.text import normalise


def config_for(source: Path, out: Path, **options: Any) -> BuildConfig:
    return BuildConfig(input=(source,), out=out, **options)


def content(corpus: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in corpus.iterdir() if p.name != "manifest.json"}


def call_at_document(monkeypatch: pytest.MonkeyPatch, number: int, action: Any) -> None:
    """Have ``action`` called when the pipeline cleans the document of that number."""
    seen = 0

    def counting(text: str) -> str:
        nonlocal seen
        seen += 1
        if seen == number:
            action()
        return normalise(text)

    monkeypatch.setattr("hanlm.text.normalise", counting)


def test_a_column_of_urls_is_no_domain(tmp_path: Path):
    rows = ({"text": f"第{i}页写的是今天的天气。", "domain": f"https://a.cn/{i}"} for i in range(MOST_LABELS + 1))
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(InputError, match=r"expected domain to be a label .* 'https://a.cn/1000' .*`domain: null`"):
        build(config_for(tmp_path / "pages.jsonl", tmp_path / "corpus"))
    source = Source(path=tmp_path / "pages.jsonl", fields=Fields(domain=None))
    build(BuildConfig(sources=(source,), out=tmp_path / "corpus"))


@pytest.mark.fault(3)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_and_nothing_is_half_written(
    tmp_path: Path, chinese_file: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    out = tmp_path / "corpus"
    earlier = content(build(config_for(chinese_file, out)))
    call_at_document(monkeypatch, 100, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="run the same command again"):
        build(config_for(chinese_file, out, overwrite=True, min_chars=3))
    assert content(out) == earlier
    open_artifact(out, "corpus")
    assert not (work_folder(out) / "result").exists()


@pytest.mark.fault(12)
def test_after_a_kill_the_same_command_writes_what_an_undisturbed_run_writes(tmp_path: Path, chinese_file: Path):
    undisturbed = content(build(config_for(chinese_file, tmp_path / "a")))
    script = (
        "import os, signal, sys; from pathlib import Path; import hanlm.text as p\n"
        "from corpora.build import BuildConfig, build\n"
        "clean = p.normalise; seen = []\n"
        "def kill(text):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 300: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return clean(text)\n"
        "p.normalise = kill\n"
        "build(BuildConfig(input=(Path(sys.argv[1]),), out=Path(sys.argv[2])))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, chinese_file, tmp_path / "b"], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "b.work/result").exists()  # the kill came in the midst of it
    assert content(build(config_for(chinese_file, tmp_path / "b"))) == undisturbed
    assert not (tmp_path / "b.work").exists()


@pytest.mark.fault(4)
def test_a_full_disk_costs_nothing_that_was_there(tmp_path: Path, full_disk: Callable[..., str]):
    source, out = tmp_path / "in.jsonl", tmp_path / "corpus"
    source.write_text("\n".join(json.dumps({"text": f"好{i}" + os.urandom(900).hex()}) for i in range(500)))
    (tmp_path / "small.txt").write_text("早先的语料。", encoding="utf-8")
    earlier = content(build(config_for(tmp_path / "small.txt", out, valid_fraction=0.0)))
    full_disk(100_000, "corpus", "build", "--input", source, "--out", out, "--overwrite", "--lang", "en")
    assert content(out) == earlier
    assert not (work_folder(out) / "result").exists()


@pytest.mark.fault(6)
def test_a_flipped_bit_in_a_shard_is_found_before_the_corpus_is_used(tmp_path: Path, chinese_file: Path):
    corpus = build(config_for(chinese_file, tmp_path / "a"))
    shard = corpus / "train-00000.jsonl.zst"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"train-00000\.jsonl\.zst fails its checksum"):
        build(config_for(corpus, tmp_path / "b"))
    assert not (tmp_path / "b").exists()


@pytest.mark.fault(13)
def test_a_bad_byte_costs_one_line_and_is_reported(tmp_path: Path):
    source = tmp_path / "in.txt"
    lines = [f"这是第{i}行文字。".encode() for i in range(40)]
    lines[7] = b"\xe6\xb1" + lines[7]
    source.write_bytes(b"\n".join(lines))
    corpus = build(config_for(source, tmp_path / "corpus", txt_unit="line"))
    counts = open_artifact(corpus, "corpus").manifest["counts"]
    assert (counts["documents_in"], counts["documents_kept"]) == (40, 39)
    assert counts["quarantined"] == {"invalid_utf8": 1}
    entry = json.loads((corpus / "quarantine.jsonl").read_text())
    assert (entry["line"], entry["reason"]) == (8, "invalid_utf8")
    assert entry["excerpt"].startswith("\\xe6\\xb1")


@pytest.mark.fault(14)
def test_too_much_unreadable_input_fails_and_leaves_the_list_behind(tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "一篇好的文章"}\n' * 9 + '{"text": null}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"at most 5\.0% unreadable records, got 1 of 10 .*null_field: 1") as failed:
        build(config_for(source, tmp_path / "corpus"))
    listed = tmp_path / "corpus.work/quarantine.jsonl"
    assert str(listed) in str(failed.value)
    assert json.loads(listed.read_text())["line"] == 10
    assert not (tmp_path / "corpus").exists()
    build(config_for(source, tmp_path / "corpus", max_quarantined=0.1))
    assert not listed.exists()


@pytest.mark.fault(15)
def test_a_truncated_archive_publishes_nothing(tmp_path: Path, chinese_file: Path):
    source = tmp_path / "in.jsonl.gz"
    packed = gzip.compress(chinese_file.read_bytes())
    source.write_bytes(packed[:-20])
    with pytest.raises(InputError, match=r"in\.jsonl\.gz is truncated"):
        build(config_for(source, tmp_path / "corpus"))
    assert not (tmp_path / "corpus").exists()


@pytest.mark.fault(16)
def test_a_corpus_where_nothing_survives_is_an_error_with_the_reasons(tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "only English"}\n{"text": "no Chinese"}\n{"text": ""}\n')
    with pytest.raises(InputError, match=r"no document survived \(low_han_ratio: 2, empty: 1\)"):
        build(config_for(source, tmp_path / "corpus"))
    assert not (tmp_path / "corpus").exists()
    source.write_text("\n\n")
    with pytest.raises(InputError, match="no record was found"):
        build(config_for(source, tmp_path / "corpus"))
    source.write_text("")
    with pytest.raises(InputError, match="is empty"):
        build(config_for(source, tmp_path / "corpus"))


@pytest.mark.fault(16)
def test_a_corpus_of_held_out_documents_alone_says_how_to_get_training_text(tmp_path: Path):
    source = tmp_path / "in.txt"
    source.write_text("只有这一篇文章。", encoding="utf-8")
    with pytest.raises(InputError, match="smaller --valid-fraction"):
        build(config_for(source, tmp_path / "corpus", valid_fraction=0.999999))


@pytest.mark.fault(17)
def test_nul_and_lone_surrogates_do_no_harm(tmp_path: Path):
    source = tmp_path / "in.jsonl"
    good = [json.dumps({"text": f"第{i}篇"}) for i in range(40)]
    source.write_text("\n".join([*good, '{"text": "有\\u0000零的"}', '{"text": "半个\\ud83d"}']))
    corpus = build(config_for(source, tmp_path / "corpus", valid_fraction=0.0))
    counts = open_artifact(corpus, "corpus").manifest["counts"]
    assert counts["documents_kept"] == 41
    assert counts["quarantined"] == {"lone_surrogate": 1}


def test_parts_that_a_worker_does_not_see_are_noticed(
    tmp_path: Path, chinese_file: Path, monkeypatch: pytest.MonkeyPatch
):
    def hide_parts(stage: Any, *arguments: Any) -> Any:
        if stage.name == "write":
            for part in (tmp_path / "corpus.work/build/parts").iterdir():
                part.unlink()
        return run_stage(stage, *arguments)

    monkeypatch.setattr("corpora.pipeline.run_stage", hide_parts)
    with pytest.raises(ArtifactError, match=r"expected \d+ documents in the parts of the first stage, got 0"):
        build(config_for(chinese_file, tmp_path / "corpus"))
    assert not (tmp_path / "corpus").exists()
