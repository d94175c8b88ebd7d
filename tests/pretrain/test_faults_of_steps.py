"""Bad gradients and jumps of the loss: told with the documents of their batch, left out where that is asked for."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hanlm.errors import ConfigError, InputError
from hanlm.tokens import open_tokens
from pretrain.megatron import engine
from pretrain.train import pretrain
from pretrain.watching.faults import Faults
from pretrain.watching.options import FaultOptions

MARK = 7  # a byte's id that no document of the fixture uses
MARKED = "docs-20"


@pytest.fixture(scope="module")
def marked_tokens(extended_model, tiny_tokens, tmp_path_factory):
    """The tiny tokens with one training document that is all one odd token."""
    from hanlm.publish import publish
    from hanlm.tokenizing import tokenizer_hash
    from hanlm.tokens import TokenWriter

    source = open_tokens(tiny_tokens)
    out = tmp_path_factory.mktemp("marked") / "tokens"
    digest = tokenizer_hash(extended_model)
    with publish(out, kind="tokens", config={}, tokenizer_hash=digest) as draft:
        writer = TokenWriter(
            folder=draft.folder, vocab_size=source.vocab_size, bos_token_id=1, eos_token_id=2, tokenizer_hash=digest
        )
        with writer:
            for each in source.sets:
                rows = [r for r in source.documents(split=each.split).to_pylist() if r["prefix"] == each.path.name]
                for row, ids in zip(rows, each.open(), strict=True):
                    names = {key: row[key] for key in ("id", "domain", "lang", "split", "num_bytes", "num_chars")}
                    told = [1, *[MARK] * (len(ids) - 2), 2] if row["id"] == MARKED else ids.tolist()
                    writer.add(told, **names)
        draft.record(**writer.manifest_keys())
    return out


def spoil_marked(monkeypatch, factor: float) -> None:
    """Multiply the loss of every token of the marked document."""
    original = engine.linear_cross_entropy

    def loss(hidden, weight, labels, **rest):
        total, nll = original(hidden, weight, labels, **rest)
        is_marked = labels == MARK
        if not is_marked.any():
            return total, nll
        return total * factor, torch.where(is_marked, nll * factor, nll)

    monkeypatch.setattr(engine, "linear_cross_entropy", loss)


def events(folder: Path, kind: str) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row.get("event") == kind]


def steps_with_mark(config) -> list[int]:
    """Return the steps whose labels hold the mark, found in the batches themselves."""
    from draws import draw_of

    data = draw_of(config)
    found = [any((b.label_BT == MARK).any() for b in data.step(step)) for step in range(config.steps)]
    return [step + 1 for step, is_there in enumerate(found) if is_there]


@pytest.mark.fault(9)
@pytest.mark.fault(10)
@pytest.mark.parametrize("factor", [math.nan, 1e4])
def test_the_document_that_spoils_a_step_is_named_first(settings, marked_tokens, monkeypatch, capsys, factor):
    config = settings(tokens=(marked_tokens,), steps=40, lr=1e-4)
    expected = steps_with_mark(config)
    assert 0 < len(expected) < 8
    if not math.isnan(factor):
        expected = [step for step in expected if step > 8]  # before that there is no median
        assert expected
    with monkeypatch.context() as patch:
        spoil_marked(patch, factor)
        out = pretrain(config)
    told = events(out, "bad_gradient" if math.isnan(factor) else "spike")
    assert [event["step"] for event in told] == expected
    for event in told:
        assert event["skipped"] == math.isnan(factor)
        first, *others = event["samples"]
        assert MARKED in first["documents"]
        assert first["set"] == "train-docs"
        assert first["loss"] is None or first["loss"] > 2 * max(
            each["loss"] for each in others if MARKED not in each["documents"]
        )
        assert len(event["samples"]) == config.global_batch_size
    said = capsys.readouterr().err
    assert said.count("and others, all in metrics.jsonl") == len(expected)
    if math.isnan(factor):
        assert "the gradient is not finite (nan), left out" in said
    else:
        assert "told only" in said


@pytest.mark.fault(10)
def test_a_spike_that_is_skipped_leaves_the_weights_as_if_the_step_had_not_been(
    settings, marked_tokens, monkeypatch, read_weights
):
    """The last step is the one with the spike: the weights are those of the run that ends a step before."""
    config = settings(tokens=(marked_tokens,), steps=40, lr=1e-3)
    last = next(step for step in steps_with_mark(config) if step > 8)
    phases = {"warmup_ratio": 0.0, "min_lr_ratio": 0.999999}
    flat = {"tokens": (marked_tokens,), "lr": 1e-3, **phases}
    weights = {}
    for name, steps, skip in (("skipped", last, True), ("taken", last, False), ("before", last - 1, False)):
        with monkeypatch.context() as patch:
            spoil_marked(patch, 1e4)
            weights[name] = read_weights(
                pretrain(settings(name, **flat, steps=steps, faults=FaultOptions(skip_spikes=skip)))
            )
    for name in weights["before"]:
        assert torch.allclose(weights["skipped"][name], weights["before"][name], atol=1e-7)
    assert any(not torch.allclose(weights["taken"][n], weights["before"][n], atol=1e-5) for n in weights["before"])


@pytest.mark.fault(9)
def test_a_run_stops_after_as_many_bad_steps_as_it_is_told_and_goes_on_when_allowed_more(settings, monkeypatch):
    original = engine.linear_cross_entropy

    def loss(*args, **kwargs):
        total, nll = original(*args, **kwargs)
        return total * math.nan, nll

    config = settings(steps=8, save_every=1, faults=FaultOptions(max_bad_steps=3))
    with monkeypatch.context() as patch:
        patch.setattr(engine, "linear_cross_entropy", loss)
        with pytest.raises(
            InputError, match=r"finite gradients, got nan in 3 steps in a row \(up to step 3, .*en/docs"
        ):
            pretrain(config)
    work = config.out.with_name("out.work")
    assert [event["step"] for event in events(work, "bad_gradient")] == [1, 2, 3]
    more = settings(steps=8, save_every=1, faults=FaultOptions(max_bad_steps=4))
    assert len(events(pretrain(more), "bad_gradient")) == 2  # step 3 was not saved, and is done again, well


@pytest.mark.fault(9)
def test_what_was_bad_before_a_stop_counts_after_it():
    faults = Faults(FaultOptions(max_bad_steps=3))
    for _ in range(2):
        assert faults.settle(1.0, math.nan) == ("bad_gradient", True)
    again = Faults(FaultOptions(max_bad_steps=3))
    again.restore(json.loads(json.dumps(faults.state())))
    again.stop_if_hopeless(2, math.nan, "en/docs")
    again.settle(1.0, math.nan)
    with pytest.raises(InputError, match="3 steps in a row"):
        again.stop_if_hopeless(3, math.nan, "en/docs")


def judge(losses, **options):
    faults = Faults(FaultOptions(**options))
    found = []
    for loss in losses:
        faults.approve(loss)
        found.append(faults.settle(loss, 1.0)[0])
    return [i for i, fault in enumerate(found) if fault]


def test_a_spike_is_measured_by_the_median_of_the_latest_losses():
    falling = np.linspace(6.0, 3.0, 50).tolist()
    assert judge([*falling, 5.9, *falling[-5:]]) == []
    assert judge([*falling, 7.5, *falling[-5:]], spike_window=16) == [50]
    assert judge([*falling, 7.5], spike_factor=0.0) == []
    assert judge([1.0, 1.0, 30.0, 1.0]) == []  # too early to tell


def test_a_new_level_of_the_loss_is_a_spike_only_until_it_is_usual():
    assert judge([1.0] * 20 + [3.0] * 20, spike_window=8) == [20, 21, 22, 23]
    assert judge([1.0] * 20 + [3.0] * 10, spike_window=8, skip_spikes=True) == list(range(20, 30))


def test_spikes_that_are_skipped_without_end_stop_the_run():
    faults = Faults(FaultOptions(skip_spikes=True, max_bad_steps=2))
    for loss in [*[1.0] * 10, 9.0]:
        assert faults.approve(loss) == (loss < 9)
        faults.settle(loss, 1.0)
        faults.stop_if_hopeless(11, 1.0, "en/docs")
    faults.approve(9.0)
    faults.settle(9.0, 1.0)
    with pytest.raises(InputError, match="losses without spikes, got 2 such steps in a row"):
        faults.stop_if_hopeless(12, 1.0, "en/docs")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"max_bad_steps": 0}, "at least 1"), ({"spike_factor": 0.5}, "above 1"), ({"spike_window": 2}, "at least 8")],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        FaultOptions(**options)


@pytest.mark.slow
@pytest.mark.fault(9)
@pytest.mark.fault(10)
@pytest.mark.parametrize("flags", [[], ["--pipeline-parallel", "2"]])
def test_two_processes_agree_on_what_was_bad_whatever_the_layout(settings, marked_tokens, monkeypatch, tmp_path, flags):
    """A spike that only one process sees is skipped by both, and named as one process names it."""
    options = {"tokens": (marked_tokens,), "steps": 24, "lr": 1e-3, "faults": FaultOptions(skip_spikes=True)}
    with monkeypatch.context() as patch:
        spoil_marked(patch, 1e4)
        alone = pretrain(settings("alone", **options))
    told = events(alone, "spike")
    assert told
    program = tmp_path / "spoiled.py"
    program.write_text(
        "import sys, torch\nfrom pretrain.megatron import engine\noriginal = engine.linear_cross_entropy\n"
        "def loss(hidden, weight, labels, **rest):\n"
        "    total, nll = original(hidden, weight, labels, **rest)\n"
        f"    marked = labels == {MARK}\n"
        "    return (total * 1e4, torch.where(marked, nll * 1e4, nll)) if marked.any() else (total, nll)\n"
        "engine.linear_cross_entropy = loss\nfrom hanlm.cli import main\nmain(sys.argv[1:])\n"
    )
    config = settings("two", **options)
    command = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", str(program), "pretrain"]
    command += ["--model", str(config.model), "--tokens", str(marked_tokens), "--out", str(config.out)]
    command += ["--steps", "24", "--lr", "1e-3", "--seq-length", "32", "--global-batch-size", "4"]
    command += ["--micro-batch-size", "2", "--precision", "fp32", "--eval-tokens", "0", "--log-every", "1"]
    done = subprocess.run(
        [*command, "--faults.skip-spikes", *flags],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    both = events(config.out, "spike")
    assert [event["step"] for event in both] == [event["step"] for event in told]
    for event, other in zip(both, told, strict=True):
        assert event["samples"][0]["documents"] == other["samples"][0]["documents"]
        assert event["batch_loss"] == pytest.approx(other["batch_loss"], rel=1e-4)
