"""Checkpoints: only whole ones count, and only those of the same run."""

from pathlib import Path

import pytest

from hanlm.errors import ArtifactError
from sft.checkpoints import CHECKPOINTS, SEAL, claim_work, latest_checkpoint, seal_checkpoint


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
    (partial / (SEAL + ".partial")).write_text("{")
    assert latest_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", 2.5)
    assert not partial.exists()


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
