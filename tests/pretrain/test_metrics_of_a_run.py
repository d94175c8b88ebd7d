"""What the lines of ``metrics.jsonl`` say: losses by language and domain, rates, speed, memory, time left."""

import json
import math
from pathlib import Path

import pytest
import torch

from pretrain.config import Phase
from pretrain.megatron import engine
from pretrain.train import pretrain
from pretrain.watching.batch import Tally
from pretrain.watching.throughput import learning_rates, peak_tflops


def lines(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


def test_losses_of_the_batches_are_told_by_language_and_domain_in_nats_and_in_bits_per_byte(settings, monkeypatch):
    """Each token is made to cost one nat; a token of the fixture spells three bytes."""
    original = engine.linear_cross_entropy

    def loss(*args, **kwargs):
        total, nll = original(*args, **kwargs)
        return total, torch.ones_like(nll)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "linear_cross_entropy", loss)
        rows = lines(pretrain(settings(steps=12, log_every=6)))
    assert [row["step"] for row in rows] == [1, 6, 12]
    for name in ("zh", "zh/news", "zh/review", "en", "en/docs"):
        assert rows[-1][f"loss/{name}"] == pytest.approx(1.0)
        assert rows[-1][f"train/{name}"] == pytest.approx(1 / math.log(2) / 3, rel=1e-6)


def test_a_line_adds_up_all_steps_since_the_last_one(settings):
    """One language: the mean of the lines of every step is the line of all."""
    phases = (Phase(lr=1e-9, steps=6),)  # too low a rate to change anything
    each = lines(pretrain(settings("each", phases=phases, mix={"zh": 0.0, "en": 1.0})))
    summed = lines(pretrain(settings("summed", phases=phases, mix={"zh": 0.0, "en": 1.0}, log_every=5)))
    mean = sum(row["loss/en"] for row in each[1:5]) / 4  # the first step has a line of its own
    assert summed[1]["loss/en"] == pytest.approx(mean, rel=1e-2)
    assert summed[1]["loss/en"] != each[4]["loss/en"]


def test_the_tally_leaves_out_samples_whose_loss_is_not_finite():
    from types import SimpleNamespace

    import numpy as np

    sets = [SimpleNamespace(lang="zh", domain="news")] * 2
    nats = np.array([math.nan, 8 * math.log(2)])
    tally = Tally()
    tally.add(SimpleNamespace(sets=sets, nats_B=nats, tokens_B=np.array([9.0, 4.0]), bytes_B=np.array([99.0, 16.0])))
    again = Tally(json.loads(json.dumps(tally.sums)))
    assert again.take() == pytest.approx(
        {"loss/zh": 2 * math.log(2), "train/zh": 0.5} | {"loss/zh/news": 2 * math.log(2), "train/zh/news": 0.5}
    )
    assert again.take() == {}


def test_speed_memory_rates_and_time_left_are_in_every_line(settings):
    rows = lines(pretrain(settings(steps=4, new_rows_steps=2, new_rows_lr=3e-3)))
    for row in rows:
        assert row["peak_memory_bytes"] > 50e6
        assert row["tokens_per_second"] > 0
        assert 0 < row["tflops"] < 10
        assert "mfu" not in row  # a CPU's peak is not known
    assert rows[-1]["eta_seconds"] == 0
    assert rows[0]["eta_seconds"] == pytest.approx(5 * rows[0]["elapsed_seconds"], abs=0.06)
    flops = [row["tflops"] / row["tokens_per_second"] for row in rows]
    assert flops[0] < flops[-1]  # new rows: most weights need no gradient of their own


def test_a_run_by_the_clock_tells_the_time_that_is_left(settings):
    rows = lines(pretrain(settings(seconds=1.0)))
    assert rows[-1]["eta_seconds"] <= 0.1
    assert 0 < rows[len(rows) // 2]["eta_seconds"] < 1.0


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H20", 148.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("Some other device", None),
    ],
)
def test_the_peak_of_a_gpu_is_known_by_its_name_and_for_bf16_alone(name, peak):
    assert peak_tflops(name, torch.bfloat16) == peak
    assert peak_tflops(name, torch.float32) is None


def test_on_a_gpu_that_is_known_lines_and_the_bar_tell_its_share(settings, monkeypatch, capsys):
    monkeypatch.setattr("hanlm.log._PLAIN_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("pretrain.watching.watch.peak_tflops", lambda *_: 0.5)
    rows = lines(pretrain(settings(steps=2)))
    assert all(row["mfu"] == pytest.approx(row["tflops"] / 0.5) for row in rows)
    assert "% MFU" in capsys.readouterr().err


def test_groups_with_rates_of_their_own_are_told_by_name():
    groups = [{"lr": 1e-3}, {"lr": 1e-3, "name": "body"}, {"lr": 3e-4, "name": "embedding"}]
    assert learning_rates(groups) == {"lr": 1e-3, "lr/body": 1e-3, "lr/embedding": 3e-4}
