"""The optimizer sharded over data-parallel processes: the same losses, the same frozen rows, resumed anywhere."""

import dataclasses
import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain.config import Phase, PretrainConfig
from pretrain.train import pretrain

STEPS, NUM_BASE = 20, 300
STEP = "pretrain.megatron.engine.Engine.step"


@pytest.fixture(scope="module")
def whole(extended_model, tiny_tokens, tmp_path_factory):
    """Return a function that gives configuration, losses and weights of an undisturbed run in one process."""
    known = {}

    def run(precision: str = "fp32"):
        if precision not in known:
            config = PretrainConfig(
                model=extended_model,
                tokens=(tiny_tokens,),
                out=tmp_path_factory.mktemp("whole") / "out",
                phases=(Phase(trainable="new_rows", lr=0.05, steps=3), Phase(lr=0.01, steps=STEPS - 3)),
                seq_length=32,
                global_batch_size=4,
                micro_batch_size=1,
                precision=precision,  # pyright: ignore[reportArgumentType]
                eval_tokens=0,
                log_every=1,
            )
            known[precision] = config, rows(pretrain(config)), load_file(config.out / "model.safetensors")
        return known[precision]

    return run


def rows(folder: Path) -> list[tuple[int, float, float]]:
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read]


def assert_close(out: Path, expected, loss_tolerance: float, norm_tolerance: float, weight_tolerance: float) -> None:
    got = rows(out)
    assert [row[0] for row in got] == [row[0] for row in expected[1]] == list(range(1, STEPS + 1))
    for (step, loss, norm), (_, their_loss, their_norm) in zip(got, expected[1], strict=True):
        assert loss == pytest.approx(their_loss, abs=loss_tolerance), step
        assert norm == pytest.approx(their_norm, abs=norm_tolerance), step
    for name, tensor in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(tensor, expected[2][name], atol=weight_tolerance, rtol=0, msg=name)


CLOSE = {"fp32": (2e-4, 2e-4, 2e-3), "bf16": (2e-3, 2e-2, 2e-2)}
"""Tolerance of losses, norms of gradients, and weights."""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_processes_with_sharded_moments_give_the_losses_of_one(whole, together, tmp_path, precision):
    expected = whole(precision)
    config = dataclasses.replace(expected[0], out=tmp_path / "out", distributed_optimizer=True)
    assert together(config, 2) == [(0, "")] * 2
    assert_close(config.out, expected, *CLOSE[precision])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_old_rows_stay_bit_identical_while_their_moments_are_sharded(
    whole, together, extended_model, read_weights, tmp_path, precision
):
    only = (Phase(trainable="new_rows", lr=0.05, steps=5),)
    config = dataclasses.replace(whole()[0], phases=only, precision=precision, distributed_optimizer=True)
    config = dataclasses.replace(config, out=tmp_path / "out")
    assert together(config, 2) == [(0, "")] * 2
    before, after = read_weights(extended_model), read_weights(config.out)
    for name, tensor in before.items():
        rows_kept = NUM_BASE if name in ("model.embed_tokens.weight", "lm_head.weight") else len(tensor)
        assert torch.equal(tensor[:rows_kept], after[name][:rows_kept]), name
    assert not torch.equal(before["lm_head.weight"][NUM_BASE:], after["lm_head.weight"][NUM_BASE:])


LAYOUTS = {
    "DP2 with": (2, {"distributed_optimizer": True}),
    "DP2 without": (2, {}),
    "TP2 with": (2, {"distributed_optimizer": True, "tensor_parallel": 2}),
    "PP2 with": (2, {"distributed_optimizer": True, "pipeline_parallel": 2}),
    "one without": (1, {}),
    "DP4 with": (4, {"distributed_optimizer": True}),
}
"""Number of processes, and flags."""


@pytest.mark.slow
@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("precision", "layouts"),
    [
        ("fp32", ("one without", "DP2 with", "TP2 with", "PP2 with", "one without")),
        ("fp32", ("TP2 with", "DP4 with", "DP2 without", "DP2 with")),
        ("bf16", ("one without", "DP2 with", "DP2 without", "DP2 with")),
    ],
)
def test_a_run_goes_on_with_and_without_it_at_any_layout(whole, together, tmp_path, precision, layouts):
    """Stopped after step 2, in the phase of new rows, of which one tensor-parallel rank holds none, and every 4 steps.

    In bf16 tensor parallelism rounds other sums, and twenty steps at these rates make much of that.
    """
    expected = whole(precision)
    config = dataclasses.replace(expected[0], out=tmp_path / "out", keep_checkpoints=9)
    for i, layout in enumerate(layouts[:-1]):
        processes, flags = LAYOUTS[layout]
        ended = together(dataclasses.replace(config, **flags), processes, (0, STEP, 4 if i else 2, signal.SIGTERM))
        assert {code for code, _ in ended} == {75}, ended
    processes, flags = LAYOUTS[layouts[-1]]
    assert together(dataclasses.replace(config, **flags), processes) == [(0, "")] * processes
    assert_close(config.out, expected, *CLOSE[precision])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_at_one_layout_the_sharded_run_resumes_to_the_bit(whole, together, tmp_path, precision):
    base = dataclasses.replace(whole()[0], precision=precision, distributed_optimizer=True)
    undisturbed = dataclasses.replace(base, out=tmp_path / "undisturbed")
    stopped = dataclasses.replace(base, out=tmp_path / "stopped")
    assert together(undisturbed, 2) == [(0, "")] * 2
    for call in (2, 5, 4):
        ended = together(stopped, 2, (1, STEP, call, signal.SIGTERM))
        assert [code for code, _ in ended] == [75, 75], ended
    assert together(stopped, 2) == [(0, "")] * 2
    assert rows(stopped.out) == rows(undisturbed.out)
    got, wanted = (load_file(c.out / "model.safetensors") for c in (stopped, undisturbed))
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
