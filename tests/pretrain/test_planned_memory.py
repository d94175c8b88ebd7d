"""The memory formula against measured peaks, at one process and at every layout of two."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import memory_peaks
import pytest
import torch

from pretrain.layout import Layout
from pretrain.parallel import parallel
from pretrain.planning.measure import peak_memory_of
from pretrain.planning.memory import peak_memory, stage_memory
from pretrain.planning.parts import Training, model_parameters

TOLERANCE = 0.05
TOO_BOLD, TOO_CAREFUL = 0.06, 0.2
"""How far the formula may be below and above what one of two processes takes; docs/pretrain/plan.md states all."""


@pytest.fixture(scope="module")
def alone():
    with parallel(Layout(), seed=0) as place:
        yield place


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", memory_peaks.CASES, ids=lambda case: ",".join(case) or "plain")
def test_the_formula_gives_the_measured_peak_of_one_process(alone, case, dtype):
    assert memory_peaks.ratio(alone, dtype, case) == pytest.approx(1, abs=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("phase", memory_peaks.PHASES)
def test_the_formula_gives_the_measured_peak_of_phases_that_train_less(alone, phase, dtype):
    for case in memory_peaks.CASES[::2]:
        found = memory_peaks.ratio(alone, dtype, case, phase=memory_peaks.PHASES[phase])
        assert found == pytest.approx(1, abs=TOLERANCE), case


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_phase_begins_when_the_moments_and_gradients_of_the_one_before_are_gone(alone, dtype):
    shape = memory_peaks.make_shape(hidden_size=512, ffn_size=1408)
    one, two = (
        memory_peaks.peak(shape, alone, dtype, batch=1, length=16, micro_batches=1, num_phases=n) for n in (1, 2)
    )
    assert two == pytest.approx(one, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [{"tensor": 2, "sequence_parallel": True}, {"pipeline": 2}, {"pipeline": 2, "virtual": 2}],
    ids=["TP2+SP", "PP2", "PP2+VPP2"],
)
def test_the_formula_gives_the_measured_peaks_of_two_processes(layout, tmp_path):
    script = Path(memory_peaks.__file__)
    command = [sys.executable, "-W", "ignore", "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, str(script), str(tmp_path), json.dumps(layout)],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        ratios = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(ratios) == 2 * (len(memory_peaks.CASES) + len(memory_peaks.PHASES))
        assert 1 - TOO_BOLD < min(ratios) < max(ratios) < 1 + TOO_CAREFUL, ratios


def test_the_measure_sees_what_is_allocated_at_once_and_what_is_given_back():
    with peak_memory_of(torch.device("cpu")) as peak:
        first = torch.zeros(1000)
        second = first + 1
        del first
        view = second[:10]
        third = second * 2
        del second, third
        view.add_(1)
    assert peak.num_bytes == 8000


def test_the_measure_agrees_with_the_profiler(alone):
    from torch.profiler import ProfilerActivity, profile

    shape, size = memory_peaks.make_shape(), {"batch": 2, "length": 64, "micro_batches": 1}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        measured = memory_peaks.peak(shape, alone, torch.float32, **size)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    current = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    assert measured == pytest.approx(peak, rel=0.02)


TRAINING = Training(layout=Layout(), micro_batch_size=4, seq_length=512, num_micro_batches=8)


def test_parameters_are_those_of_the_model_that_is_built(alone):
    from pretrain.megatron.model import build_model

    for changes in ({}, {"is_tied": True}, {"head_size": 64}):
        shape = memory_peaks.make_shape(**changes)
        model = build_model(shape, alone, dtype=torch.float32, seq_length=64)
        assert model_parameters(shape) == sum(p.numel() for p in model.parameters())


def test_bf16_holds_18_bytes_a_parameter_and_fp32_16():
    shape = memory_peaks.make_shape()
    for size, expected in ((2, 18), (4, 16)):
        memory = peak_memory(shape, dataclasses.replace(TRAINING, bytes_per_value=size))
        assert memory.static == expected * model_parameters(shape)


def test_the_first_stage_keeps_as_many_micro_batches_as_there_are_stages():
    shape = memory_peaks.make_shape(num_layers=8)
    training = dataclasses.replace(TRAINING, layout=Layout(pipeline=4))
    kept = [stage_memory(shape, training, stage).activations for stage in range(4)]
    assert kept[0] == pytest.approx(4 * kept[3], rel=0.05)
    assert kept == sorted(kept, reverse=True)
    few = dataclasses.replace(training, num_micro_batches=1)
    assert stage_memory(shape, few, 0).activations == pytest.approx(kept[3], rel=0.05)


def test_an_interleaved_stage_keeps_more_than_it_would_otherwise_and_never_more_than_a_step_has():
    shape = memory_peaks.make_shape(num_layers=16)
    plain = dataclasses.replace(TRAINING, layout=Layout(pipeline=4))
    interleaved = dataclasses.replace(plain, layout=Layout(pipeline=4, virtual=2))
    first, kept = (stage_memory(shape, t, 0).activations for t in (plain, interleaved))
    assert kept == pytest.approx(first * (2 * 3 + 4 + 1) / (2 * 4), rel=0.05)
    few = dataclasses.replace(interleaved, num_micro_batches=4)
    assert stage_memory(shape, few, 0).activations == pytest.approx(first, rel=0.05)


def test_logits_of_a_large_vocabulary_are_bounded_by_a_block():
    shape = memory_peaks.make_shape(vocab_size=70_000)
    long = dataclasses.replace(TRAINING, micro_batch_size=64, seq_length=4096)
    table = 70_000 * shape.hidden_size * 2
    assert peak_memory(shape, long).logits <= 2**26 * (2 + 4) + table


def test_sharding_and_recompute_take_what_they_promise():
    shape = memory_peaks.make_shape(num_layers=8)
    training = dataclasses.replace(TRAINING, data_size=4)
    whole, sharded = (
        peak_memory(shape, dataclasses.replace(training, shards_optimizer=shards)) for shards in (False, True)
    )
    assert sharded.masters + sharded.moments == (whole.masters + whole.moments) // 4
    assert sharded.weights + sharded.gradients == whole.weights + whole.gradients
    recomputed = peak_memory(shape, dataclasses.replace(training, recomputes=True))
    assert recomputed.activations < whole.activations / 5
