"""The budget for forgetting: kept by showing more of the language, or the run ends and says so."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hanlm.errors import ArtifactError, ConfigError, InputError
from pretrain.train import plan, pretrain
from pretrain.watching.options import ForgettingOptions

BUDGET = 0.05


@pytest.fixture(scope="module")
def english_model(extended_model, tiny_tokens, tmp_path_factory) -> Path:
    """The tiny model, trained on English alone."""
    from pretrain.config import PretrainConfig

    return pretrain(
        PretrainConfig(
            model=extended_model,
            tokens=(tiny_tokens,),
            out=tmp_path_factory.mktemp("english") / "model",
            mix={"zh": 0.0, "en": 1.0},
            steps=60,
            lr=0.02,
            seq_length=32,
            global_batch_size=8,
            precision="fp32",
            eval_tokens=0,
        )
    )


@pytest.fixture
def chinese(settings, english_model, extended_model):
    """Return a function that configures a run on Chinese with very little English."""

    def make(name: str = "out", **changes):
        model = english_model
        report = extended_model / "vocab_report.json"
        (model / report.name).write_bytes(report.read_bytes())
        defaults = {
            "model": model,
            "mix": {"zh": 0.98, "en": 0.02},
            "steps": 60,
            "lr": 0.005,
            "global_batch_size": 8,
            "eval_tokens": 4000,
            "num_evals": 10,
            "warmup_ratio": 0.0,
            "log_every": 5,
        }
        return settings(name, **(defaults | changes))

    return make


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def english(folder: Path) -> list[float]:
    return [row["valid/en"] for row in rows(folder) if "valid/en" in row]


def decisions(folder: Path) -> list[dict]:
    return [row for row in rows(folder) if row.get("event") == "forgetting"]


CLOCKS = ("tokens_per_second", "elapsed_seconds", "eta_seconds", "tflops", "peak_memory_bytes")
CONTROL = ForgettingOptions(max_increase=BUDGET, raise_factor=5.0, max_share=0.6)


def test_a_run_with_the_control_holds_the_budget_that_the_same_run_without_it_breaks(chinese, capsys):
    without = english(pretrain(chinese("without")))
    assert without[-1] > (1 + BUDGET) * without[0]
    out = pretrain(chinese("with", forgetting=CONTROL))
    held = english(out)
    assert held[0] == without[0]
    assert held[-1] <= (1 + BUDGET) * held[0]
    told = decisions(out)
    assert len(told) == len(held) == 11
    raised = [d for d in told if d["verdict"] == "raised"]
    assert 1 <= len(raised) <= 3
    assert raised[0]["share_before"] == pytest.approx(0.02)
    assert raised[0]["share"] == pytest.approx(0.1)
    assert told[-1]["verdict"] == "held"
    said = capsys.readouterr().err
    assert said.count("its share of the data rises from") == len(raised)
    assert f"step {raised[0]['step']}: en takes " in said


@pytest.mark.slow
def test_a_controlled_run_that_is_killed_goes_on_to_what_it_would_have_been(chinese, kill, read_weights):
    """Killed after the first raise, and stopped between two checkpoints."""
    undisturbed = pretrain(chinese("undisturbed", forgetting=CONTROL))
    raised = [d["step"] for d in decisions(undisturbed) if d["verdict"] == "raised"]
    assert raised
    config = chinese(forgetting=CONTROL, save_every=7)
    kill(config, call=raised[0] + 9)
    out = pretrain(config)
    bare = [[{k: v for k, v in r.items() if k not in CLOCKS} for r in rows(each)] for each in (out, undisturbed)]
    assert bare[0] == bare[1]
    weights, expected = read_weights(out), read_weights(undisturbed)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_a_budget_that_cannot_be_held_ends_the_run_and_a_larger_one_goes_on(chinese, capsys):
    options = ForgettingOptions(max_increase=0.0, raise_factor=1.01, max_raises=1)
    config = chinese(lr=0.02, forgetting=options)
    with pytest.raises(
        InputError, match=r"cannot be held: en takes .* raised once, to 2\.0%\. Stopped after step"
    ) as end:
        pretrain(config)
    assert end.value.exit_code == 2
    work = config.out.with_name("out.work")
    verdicts = [d["verdict"] for d in decisions(work)]
    assert verdicts[-2:] == ["raised", "not held"]
    assert not config.out.exists()
    saved = json.loads((work / "checkpoints" / "latest.json").read_text())["step"]
    assert saved == decisions(work)[-1]["step"] < 60
    with pytest.raises(InputError, match="cannot be held"):  # the same command says the same
        pretrain(config)
    larger = dataclasses.replace(config, forgetting=dataclasses.replace(options, max_increase=50.0))
    told = decisions(pretrain(larger))
    assert [d["verdict"] for d in told].count("raised") == 1
    assert told[-1]["verdict"] == "held"
    assert told[-1]["share"] == pytest.approx(0.0202)  # what was decided stays


def test_a_run_whose_last_validation_is_over_the_budget_is_published_only_by_a_larger_one(chinese):
    config = chinese(lr=0.02, steps=12, num_evals=1, forgetting=ForgettingOptions(max_increase=0.1, max_raises=0))
    with pytest.raises(InputError, match="Stopped after step 12, which is saved"):
        pretrain(config)
    assert not config.out.exists()
    larger = dataclasses.replace(config, forgetting=ForgettingOptions(max_increase=50.0))
    out = pretrain(larger)
    assert [d["verdict"] for d in decisions(out)] == ["held", "not held", "held"]
    assert [r["step"] for r in rows(out) if "loss" in r] == [1, 5, 10]


def test_a_share_at_its_cap_cannot_be_raised(chinese):
    options = ForgettingOptions(max_increase=0.0, max_share=0.02)
    with pytest.raises(InputError, match=r"and its share is 2\.0%"):
        pretrain(chinese(lr=0.02, forgetting=options))


@pytest.mark.slow
def test_a_budget_that_is_given_on_going_on_counts_from_before_training(chinese, kill):
    config = chinese(lr=0.02, save_every=5)
    kill(config, call=22)
    late = dataclasses.replace(config, forgetting=ForgettingOptions(max_increase=0.01, raise_factor=5.0, max_raises=9))
    told = decisions(_until_the_end(late))
    assert told[0]["step"] > 20
    assert told[0]["before_training"] == pytest.approx(english(config.out.with_name("out.work"))[0])


def _until_the_end(config) -> Path:
    try:
        return pretrain(config)
    except InputError:
        return config.out.with_name("out.work")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eval_tokens": 0}, "give --eval-tokens and --num-evals, got 0 and 10"),
        ({"num_evals": 0}, "got 4000 and 0"),
        ({"mix": {"zh": 1.0, "en": 0.0}}, "needs training texts in en beside others"),
        ({"mix": {"zh": 0.0, "en": 1.0}}, "needs training texts in en beside others"),
        ({"forgetting": ForgettingOptions(max_increase=0.1, lang="fr")}, "needs validation texts in fr"),
    ],
)
def test_a_budget_that_could_not_be_measured_or_held_is_refused_before_anything_starts(chinese, changes, said):
    config = chinese(**({"forgetting": CONTROL} | changes))
    for command in (plan, pretrain):
        with pytest.raises(ConfigError, match=said):
            command(config)
    assert not config.out.with_name("out.work").exists()


def test_a_dry_run_says_what_the_budget_does(chinese):
    lines = plan(chinese(forgetting=CONTROL))
    assert "keep en within 5.0% of its bits per byte before training, checked at 10 validations: 5 times its share" in (
        "\n".join(lines)
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_increase": -0.1}, "must not be negative"),
        ({"raise_factor": 1.0}, "above 1"),
        ({"max_share": 1.0}, "between 0 and 1"),
        ({"max_raises": -1}, "must not be negative"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        ForgettingOptions(**options)


def test_other_options_than_the_budget_still_make_another_run(chinese, kill):
    config = chinese(forgetting=CONTROL, save_every=2)
    kill(config, call=3)
    with pytest.raises(ArtifactError, match="differs in lr"):
        pretrain(dataclasses.replace(config, lr=0.1))


@pytest.mark.slow
def test_two_processes_decide_and_tell_what_one_does(chinese, tiny_tokens):
    """Two data-parallel ones, each with half of every batch; both draw by the new shares from the same step on."""
    control = dataclasses.replace(CONTROL, max_increase=0.2)
    changes = {"steps": 24, "num_evals": 4, "forgetting": control, "lr": 0.01, "log_every": 1}
    alone = rows(pretrain(chinese("alone", **changes)))
    assert sum(row.get("verdict") == "raised" for row in alone) >= 1
    config = chinese("two", **changes)
    command = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", "-m", "hanlm", "pretrain"]
    command += ["--model", str(config.model), "--tokens", str(tiny_tokens), "--out", str(config.out), "--steps", "24"]
    command += ["--mix", "zh=0.98,en=0.02", "--lr", "0.01", "--warmup-ratio", "0", "--seq-length", "32"]
    command += ["--global-batch-size", "8", "--micro-batch-size", "2", "--precision", "fp32", "--eval-tokens", "4000"]
    command += ["--num-evals", "4", "--log-every", "1", "--forgetting.max-increase", "0.2"]
    done = subprocess.run(
        [*command, "--forgetting.raise-factor", "5", "--forgetting.max-share", "0.6"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    both = rows(config.out)
    for one, two in zip(alone, both, strict=True):
        assert one.keys() == two.keys()
        kept = [{k: v for k, v in row.items() if k not in CLOCKS and not isinstance(v, str)} for row in (one, two)]
        assert kept[1] == pytest.approx(kept[0], rel=3e-2, abs=1e-2)  # rounding grows at this rate
        assert one.get("verdict") == two.get("verdict")
