"""Tokenizing in processes: the same bytes for any number of them, and after any of them was killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import corpora.tokens.part
from corpora.build import BuildConfig, build
from corpora.tokenize import TokenizeConfig, tokenize
from corpora.tokens.join import join_parts
from corpora.tokens.part import Part, finished_part
from corpora.tokens.slices import Slice, _lines, read_slice, slices_of
from hanlm.artifact import open_artifact
from hanlm.errors import HanLMError, InputError, Interrupted
from hanlm.megatron import megatron_import
from hanlm.publish import work_folder
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.tokens import TokenWriter, open_tokens, token_dtype

UNHURRIED = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with other things is no fault."""
SLICE_BYTES = 200_000
CHARACTERS = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two megabytes of three domains in runs of random length; one comes up in the second half alone."""
    folder = tmp_path_factory.mktemp("parallel")
    draw = random.Random(0)
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        for i in range(1500):
            domain = draw.choice(["news", "book"] if i < 900 else ["book", "late"])
            text = "".join(draw.choices(CHARACTERS, k=draw.randint(20, 900)))
            file.write(json.dumps({"text": text, "id": f"d{i}", "domain": domain}, ensure_ascii=False) + "\n")
    return build(BuildConfig(input=(folder / "texts.jsonl",), out=folder / "corpus", valid_fraction=0.05))


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpora.tokens.slices.SLICE_BYTES", SLICE_BYTES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tiny_model_folder: Path) -> dict[str, bytes]:
    """What one undisturbed process writes."""
    out = tmp_path_factory.mktemp("whole") / "tokens"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corpora.tokens.slices.SLICE_BYTES", SLICE_BYTES)
        return content(tokenize(settings(corpus, tiny_model_folder, out, workers=1)))


def settings(corpus: Path, tokenizer: Path, out: Path, **options: Any) -> TokenizeConfig:
    return TokenizeConfig(corpus=(corpus,), tokenizer=tokenizer, out=out, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}


@UNHURRIED
@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=20),
    cuts=st.sets(st.integers(1, 120), max_size=6),
    ends=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_slices_hold_every_line_once_in_whatever_order_a_process_reads_them(
    lines: list[bytes], cuts: set[int], ends: bool, order: random.Random
):
    with TemporaryDirectory() as folder:
        shard = Path(folder) / "train-00000.jsonl"
        shard.write_bytes(b"\n".join(lines) + (b"\n" if ends else b""))
        edges = [0, *sorted(cuts), None]
        slices = [Slice(shard=shard, split="train", begin=a or 0, end=b) for a, b in pairwise(edges)]
        wanted = [*range(len(slices)), *order.choices(range(len(slices)), k=8)]
        order.shuffle(wanted)
        pieces = {number: list(_lines(slices[number])) for number in wanted}
    found = [line.rstrip(b"\n") for number in range(len(slices)) for line in pieces[number]]
    assert found == [line for line in lines if line.strip()]


def test_the_slices_of_a_corpus_are_its_documents(corpus: Path):
    slices = slices_of([open_artifact(corpus, "corpus")])
    assert len(slices) > 4
    read = [record["id"] for part in slices for record in read_slice(part)]
    assert read == [d.id for split in ("train", "valid") for d in read_documents([corpus], Quarantine(), split=split)]
    assert len(read) == 1500


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_processes_writes_the_same_bytes(
    tmp_path: Path, corpus: Path, tiny_model_folder: Path, whole: dict[str, bytes], workers: int
):
    out = tokenize(settings(corpus, tiny_model_folder, tmp_path / "tokens", workers=workers))
    assert content(out) == whole
    assert not work_folder(out).exists()
    assert sum(s.num_documents for s in open_tokens(out).sets) == 1500


def test_the_table_names_each_document_where_it_is_stored(
    tmp_path: Path, corpus: Path, tiny_model_folder: Path, whole: dict[str, bytes]
):
    tokens = open_tokens(tokenize(settings(corpus, tiny_model_folder, tmp_path / "tokens", workers=1)))
    opened = {s.path.name: s.open() for s in tokens.sets}
    seen = dict.fromkeys(opened, 0)
    for row in tokens.documents(split="train").to_pylist():
        assert row["index"] == seen[row["prefix"]]
        seen[row["prefix"]] += 1
        assert len(opened[row["prefix"]][row["index"]]) == row["num_tokens"]
        assert row["prefix"] == f"train-{row['domain']}"
    assert {n: len(d) for n, d in opened.items() if n.startswith("train")} == {
        n: k for n, k in seen.items() if n.startswith("train")
    }


@pytest.mark.parametrize("vocab_size", [1_000, 70_000])
def test_parts_are_joined_as_megatron_core_joins_them(tmp_path: Path, vocab_size: int):
    """Document boundaries included; one of the parts is empty."""
    with megatron_import():
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
    draw = np.random.default_rng(0)
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=token_dtype(vocab_size))
    parts = []
    for number in range(4):
        folder = tmp_path / f"{number:06}"
        folder.mkdir()
        names = {"folder": folder, "vocab_size": vocab_size, "bos_token_id": 1, "eos_token_id": 2}
        with TokenWriter(**names, tokenizer_hash="t", may_be_empty=True) as writer:
            for i in range(0 if number == 2 else 30):
                ids = draw.integers(0, vocab_size, draw.integers(1, 40))
                row = {"id": f"{number}-{i}", "domain": "a", "lang": "zh", "split": "train"}
                writer.add(ids, **row, num_bytes=1, num_chars=1)
        datasets = writer.manifest_keys()["datasets"]
        parts.append(Part(folder, datasets, 0, 0))
        if datasets:
            builder.add_index(str(folder / "train-a"))
    builder.finalize(str(tmp_path / "theirs.idx"))
    out = tmp_path / "out"
    out.mkdir()
    assert [(e["prefix"], e["num_documents"]) for e in join_parts(parts, out)] == [("train-a", 90)]
    for ending in ("bin", "idx"):
        assert (out / f"train-a.{ending}").read_bytes() == (tmp_path / f"theirs.{ending}").read_bytes()


@pytest.mark.fault(16)
def test_parts_without_documents_are_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="got none"):
        join_parts([Part(tmp_path, [], 0, 0)], tmp_path)


@pytest.mark.fault(3)
def test_a_signal_stops_between_parts_and_the_same_command_goes_on(
    tmp_path: Path,
    corpus: Path,
    tiny_model_folder: Path,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "tokens"
    with monkeypatch.context() as patch:
        patch.setattr("corpora.tokens.part._finish", _then_signal(corpora.tokens.part._finish))
        with pytest.raises(Interrupted, match="nothing was published") as stop:
            tokenize(settings(corpus, tiny_model_folder, out, workers=1))
    assert stop.value.exit_code == 75
    assert not out.exists()
    assert not (work_folder(out) / "result").exists()
    assert content(tokenize(settings(corpus, tiny_model_folder, out, workers=1))) == whole
    assert "1 of" in capsys.readouterr().err


def _then_signal(function: Any) -> Any:
    """Return the function, followed by a SIGTERM to this process."""

    def with_signal(*args: Any) -> Any:
        result = function(*args)
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    return with_signal


def stopped_after(parts: int, out: Path, corpus: Path, tokenizer: Path) -> Path:
    """Leave the work of a run that was stopped after so many parts; return the folder of the parts."""
    made: list[int] = []
    original = corpora.tokens.part._finish

    def finish(*args: Any) -> Any:
        result = original(*args)
        made.append(1)
        if len(made) == parts:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corpora.tokens.part._finish", finish)
        with pytest.raises(Interrupted):
            tokenize(settings(corpus, tokenizer, out, workers=1))
    return work_folder(out) / "parts"


@pytest.mark.fault(6)
def test_a_finished_part_that_was_damaged_is_made_again(
    tmp_path: Path, corpus: Path, tiny_model_folder: Path, whole: dict[str, bytes]
):
    out = tmp_path / "tokens"
    parts = stopped_after(3, out, corpus, tiny_model_folder)
    damaged = next((parts / "000001").glob("*.bin"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    (parts / "000002" / "part.json").unlink()
    assert content(tokenize(settings(corpus, tiny_model_folder, out, workers=1))) == whole


def test_parts_of_another_tokenizer_are_not_taken(
    tmp_path: Path, corpus: Path, tiny_model_folder: Path, whole: dict[str, bytes]
):
    other = tmp_path / "other"
    shutil.copytree(tiny_model_folder, other)
    parts = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    parts["model"]["merges"] = parts["model"]["merges"][:-1]
    (other / "tokenizer.json").write_text(json.dumps(parts), encoding="utf-8")
    out = tmp_path / "tokens"
    stopped_after(2, out, corpus, other)
    assert content(tokenize(settings(corpus, tiny_model_folder, out, workers=1))) == whole


def when_there(folder: Path, pattern: str, action: Callable[[Path], Any]) -> threading.Thread:
    """Do something as soon as a file matches; the thread ends then."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for found in folder.glob(pattern):
                action(found)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def worker_of(part: Path) -> int:
    """Return the process that writes a part: its number is in the name."""
    return int(part.name.split(".")[1])


@pytest.mark.fault(12)
def test_a_worker_that_is_killed_is_noticed_and_the_next_run_goes_on(
    tmp_path: Path, corpus: Path, tiny_model_folder: Path, whole: dict[str, bytes]
):
    out = tmp_path / "tokens"
    killed: list[int] = []

    def kill(part: Path) -> None:
        killed.append(worker_of(part))
        os.kill(killed[0], signal.SIGKILL)

    thread = when_there(work_folder(out) / "parts", "0*.new", kill)
    with pytest.raises(HanLMError, match=r"has died.*run the same command again"):
        tokenize(settings(corpus, tiny_model_folder, out, workers=2))
    thread.join()
    assert killed
    assert not out.exists()
    assert content(tokenize(settings(corpus, tiny_model_folder, out, workers=2))) == whole


def start(folder: Path, corpus: Path, tokenizer: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the command with two workers in a process of its own."""
    script = folder / "run.py"
    script.write_text(
        "import sys; import corpora.tokens.slices as s\n"
        "from hanlm.cli import main\n"
        f"if __name__ == '__main__':\n    s.SLICE_BYTES = {SLICE_BYTES}\n    main(sys.argv[1:])\n"
    )
    options = ["--corpus", corpus, "--tokenizer", tokenizer, "--out", out, "--workers", "2"]
    return subprocess.Popen([sys.executable, script, "corpus", "tokenize", *options], stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.fault(3)
def test_sigterm_stops_the_processes_after_their_slices_and_leaves_with_75(
    tmp_path: Path, corpus: Path, tiny_model_folder: Path, whole: dict[str, bytes]
):
    out = tmp_path / "tokens"
    with start(tmp_path, corpus, tiny_model_folder, out) as process:
        thread = when_there(work_folder(out), "parts/0*.new", lambda _: process.send_signal(signal.SIGTERM))
        said = process.communicate()[1].decode()
        thread.join()
    assert process.returncode == 75, said
    assert said.splitlines()[-1].startswith("hanlm: stopped; nothing was published, and the parts")
    assert not list((work_folder(out) / "parts").glob("0*.new"))
    assert content(tokenize(settings(corpus, tiny_model_folder, out, workers=1))) == whole


@pytest.mark.slow
@pytest.mark.fault(12)
@pytest.mark.parametrize("moment", ["parts/00000?", "parts/0*.new", "result/*.bin"])
def test_after_the_main_process_was_killed_finished_parts_are_kept_and_the_bytes_are_the_same(
    tmp_path: Path,
    corpus: Path,
    tiny_model_folder: Path,
    whole: dict[str, bytes],
    moment: str,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "tokens"
    with start(tmp_path, corpus, tiny_model_folder, out) as process:
        thread = when_there(work_folder(out), moment, lambda _: process.send_signal(signal.SIGKILL))
        process.communicate()  # ends when the workers, which hold the other end of the pipe, have ended too
        thread.join()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    finished = [p for p in (work_folder(out) / "parts").glob("*") if p.is_dir() and p.suffix != ".new"]
    kept = [p for p in finished if finished_part(p)]
    assert len(kept) == len(finished)
    capsys.readouterr()
    assert content(tokenize(settings(corpus, tiny_model_folder, out, workers=2))) == whole
    assert (f"{len(kept)} of " in capsys.readouterr().err) == bool(kept)
