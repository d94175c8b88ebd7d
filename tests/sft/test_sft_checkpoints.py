"""Checkpoints: only whole ones count, and only those of the same run."""

import errno
from pathlib import Path
from typing import Any

import pytest

from hanlm.errors import ArtifactError
from sft.checkpoints import CHECKPOINTS, Checkpoint, claim_work, latest_checkpoint, seal_checkpoint


def make_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(b"state")
    return checkpoint


@pytest.mark.fault(2)
def test_a_checkpoint_cut_off_by_a_kill_is_ignored_and_removed_and_the_one_before_it_loads(tmp_path: Path):
    seal_checkpoint(make_checkpoint(tmp_path, 9), 1.5)
    seal_checkpoint(make_checkpoint(tmp_path, 10), 2.5)
    partial = make_checkpoint(tmp_path, 11)
    (partial / "manifest.json.new").write_text("{")
    assert latest_checkpoint(tmp_path) == Checkpoint(tmp_path / "checkpoint-10", 10, 2.5)
    assert not partial.exists()


@pytest.mark.fault(6)
def test_a_flipped_bit_in_a_checkpoint_is_found_and_its_file_named(tmp_path: Path):
    seal_checkpoint(make_checkpoint(tmp_path, 9), 1.5)
    damaged = make_checkpoint(tmp_path, 10)
    seal_checkpoint(damaged, 2.5)
    (damaged / "optimizer.pt").write_bytes(b"stale")
    with pytest.raises(ArtifactError, match=r"checkpoint-10/optimizer\.pt fails its checksum.*remove .*checkpoint-10"):
        latest_checkpoint(tmp_path)


def test_there_is_no_latest_checkpoint_where_there_is_none(tmp_path: Path):
    assert latest_checkpoint(tmp_path / "nothing") is None


def test_an_unfinished_run_with_other_settings_is_refused_by_name_unless_overwritten(tmp_path: Path):
    claim_work(tmp_path, {"lr": 1.0, "data": [tmp_path]}, overwrite=False)
    claim_work(tmp_path, {"lr": 2.0, "data": [tmp_path]}, overwrite=False)  # nothing was trained yet
    make_checkpoint(tmp_path / CHECKPOINTS, 5)
    claim_work(tmp_path, {"lr": 2.0, "data": [tmp_path]}, overwrite=False)
    with pytest.raises(ArtifactError, match=r"\(lr\).*--overwrite"):
        claim_work(tmp_path, {"lr": 1.0, "data": [tmp_path]}, overwrite=False)
    claim_work(tmp_path, {"lr": 1.0, "data": [tmp_path]}, overwrite=True)
    assert not (tmp_path / CHECKPOINTS).exists()


@pytest.mark.fault(4)
def test_settings_that_could_not_be_written_leave_the_run_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_checkpoint(tmp_path / CHECKPOINTS, 5)
    claim_work(tmp_path, {"lr": 1.0}, overwrite=False)
    write_text = Path.write_text

    def half(path: Path, text: str, **options: Any) -> int:
        write_text(path, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        with pytest.raises(OSError, match="no space"):
            claim_work(tmp_path, {"lr": 1.0}, overwrite=False)
    claim_work(tmp_path, {"lr": 1.0}, overwrite=False)
    assert (tmp_path / CHECKPOINTS / "checkpoint-5").is_dir()
