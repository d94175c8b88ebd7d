"""The accelerate backend trains what transformers would, on the samples that Megatron's backend sees."""

import dataclasses
import json
import math

import pytest
import torch
from by_hand import batches_of, train_by_hand
from causal_bases import make_causal_base
from transformers import AutoModelForCausalLM

from hanlm.models import load_model
from hanlm.tokens import open_tokens
from pretrain.accelerated.engine import AccelerateEngine
from pretrain.accelerated.loss import has_plain_head
from pretrain.accelerated.options import AccelerateOptions
from pretrain.config import Phase
from pretrain.megatron.engine import Engine
from pretrain.train import plan, pretrain

STEPS, LR, NUM_BASE = 20, 3e-3, 300
FAMILIES = ("bloom", "opt", "gpt_neox", "gpt2")
MORE_FAMILIES = ("falcon", "mpt", "gptj", "gemma2")


@pytest.fixture(scope="module")
def bases(tiny_tokenizer_folder, tmp_path_factory):
    """A tiny model of every family."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        family: make_causal_base(folder / family, family, tiny_tokenizer_folder) for family in FAMILIES + MORE_FAMILIES
    }


def losses_by_hand(config, cache) -> list[float]:
    """Train in transformers' evaluation mode: without dropout."""
    model = AutoModelForCausalLM.from_pretrained(str(config.model), dtype=torch.float32).eval()
    return train_by_hand(model, batches_of(config, STEPS, cache), steps=STEPS, lr=LR)


@pytest.mark.parametrize("family", [*FAMILIES, *(pytest.param(f, marks=pytest.mark.slow) for f in MORE_FAMILIES)])
def test_every_family_trains_as_transformers_does_by_hand(settings, bases, tmp_path, read_losses, family):
    config = settings(backend="accelerate", model=bases[family], steps=STEPS, lr=LR)
    expected = losses_by_hand(config, tmp_path / "index")
    out = pretrain(config)
    got = read_losses(out)
    assert list(got) == list(range(1, STEPS + 1))
    assert max(abs(a - b) for a, b in zip(got.values(), expected, strict=True)) < 1e-4
    assert expected[0] - expected[-1] > 0.2  # it did learn
    # What is published is whole, is the base's architecture, and has learnt.
    assert (out / "config.json").read_bytes() == (config.model / "config.json").read_bytes()
    before, after = (load_model(folder).state_dict() for folder in (config.model, out))
    assert before.keys() == after.keys()
    assert all(a.dtype == after[n].dtype for n, a in before.items())
    assert all(not torch.equal(a, after[n]) for n, a in before.items() if a.is_floating_point())


def test_both_backends_give_the_same_losses_bits_and_weights_where_both_fit(
    settings, extended_model, read_weights, read_losses
):
    runs = {}
    for backend in ("megatron", "accelerate"):
        config = settings(backend, backend=backend, steps=STEPS, lr=LR, eval_tokens=2000, new_rows_steps=3)
        out = pretrain(config)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        runs[backend] = rows, read_weights(out)
    (theirs, expected), (ours, weights) = runs["megatron"], runs["accelerate"]
    assert [r["step"] for r in ours] == [r["step"] for r in theirs]
    compared = 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys() - {"tflops"}
        for key in a.keys() - {"tokens_per_second", "elapsed_seconds", "eta_seconds", "peak_memory_bytes"}:
            assert a[key] == pytest.approx(b[key], abs=1e-4), (a["step"], key)
            compared += key == "loss" or key.startswith("valid/")
    assert compared >= STEPS + 3 + 5 * 5
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], atol=2e-3, rtol=0, msg=name)


def seen(monkeypatch, engine, config) -> list[torch.Tensor]:
    """Return the ids and labels that each step of a run was given."""
    steps, original = [], engine.step

    def step(self, batches, **options):
        steps.append(torch.cat([torch.cat([b.input_BT, b.label_BT], dim=1) for b in batches]))
        return original(self, batches, **options)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "step", step)
        pretrain(config)
    return steps


def test_the_ids_of_every_step_are_those_of_the_megatron_backend(settings, monkeypatch):
    changes = {"steps": 8, "mix": {"zh": 0.7, "en": 0.3}, "seed": 5}
    theirs = seen(monkeypatch, Engine, settings("a", **changes))
    ours = seen(monkeypatch, AccelerateEngine, settings("b", backend="accelerate", micro_batch_size=4, **changes))
    assert len(ours) == 8
    assert len({tuple(t.flatten().tolist()) for t in ours}) == 8
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("trainable", "family", "precision"),
    [("new_rows", "gpt2", "bf16"), ("new_rows", "gpt_neox", "fp32"), ("embeddings", "opt", "fp32")],
)
def test_what_a_phase_of_the_tables_does_not_train_stays_bit_identical(settings, bases, trainable, family, precision):
    """GPT-2 and OPT have one table, GPT-NeoX an output layer of its own."""
    phases = (Phase(trainable=trainable, lr=0.05, steps=5),)
    config = settings(backend="accelerate", model=bases[family], phases=phases, precision=precision)
    before, after = (load_model(folder) for folder in (config.model, pretrain(config)))
    tables = {id(m.weight) for m in (before.get_input_embeddings(), before.get_output_embeddings())}
    num_held = NUM_BASE if trainable == "new_rows" else 0
    changed = 0
    for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        if id(old) in tables:
            assert torch.equal(old[:num_held], new[:num_held]), name
            assert not (old[num_held:] == new[num_held:]).all(dim=1).any(), name
            changed += 1
        else:
            assert torch.equal(old, new), name
    assert changed == (2 if family == "gpt_neox" else 1)


def test_snapshots_are_models_of_their_step_and_weights_keep_the_precision_of_the_base(
    settings, tiny_tokenizer_folder, tmp_path
):
    base = make_causal_base(tmp_path / "half", "opt", tiny_tokenizer_folder, dtype=torch.float16)
    config = settings(backend="accelerate", model=base, steps=4, new_rows_steps=2, snapshot_every=2)
    out = pretrain(config)
    half, end = (load_model(folder).state_dict() for folder in (out.with_name("out.snapshots") / "step-2", out))
    start = load_model(base).state_dict()
    assert all(t.dtype == torch.float16 for t in end.values())
    assert sum(not torch.equal(start[n], half[n]) for n in start) == 2  # the table, by both its names
    assert all(not torch.equal(half[n], end[n]) for n in start)
    assert "transformers and accelerate" in (out / "README.md").read_text()


def test_bits_per_byte_are_those_of_the_trained_model(settings, bases, tiny_tokens):
    config = settings(backend="accelerate", model=bases["bloom"], steps=3, eval_tokens=100_000, num_evals=1)
    out = pretrain(config)
    measured = json.loads((out / "manifest.json").read_text())["bits_per_byte"]
    tokens = open_tokens(tiny_tokens)
    model = load_model(out)
    for lang in ("zh", "en"):
        nats, num_bytes = 0.0, 0
        for each in (s for s in tokens.sets if s.split == "valid" and s.lang == lang):
            data = each.open()
            num_bytes += each.num_bytes
            for i in range(each.num_documents):
                ids = torch.from_numpy(data[i].astype("int64"))[:-1]
                for start in range(0, len(ids) - 1, 32):
                    window = ids[start : start + 33]
                    scores = model(window[None, :-1]).logits[0].log_softmax(-1)
                    nats -= scores.gather(1, window[1:, None]).sum().item()
        assert measured[f"valid/{lang}"] == pytest.approx(nats / math.log(2) / num_bytes, abs=1e-5)


def test_gradient_checkpointing_computes_layers_twice_and_changes_no_loss(settings, bases, monkeypatch, read_losses):
    from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXMLP

    calls, original = [], GPTNeoXMLP.forward
    monkeypatch.setattr(GPTNeoXMLP, "forward", lambda *args: (calls.append(1), original(*args))[1])
    config = settings("plain", backend="accelerate", model=bases["gpt_neox"], steps=3)
    expected, plain = read_losses(pretrain(config)), len(calls)
    options = AccelerateOptions(gradient_checkpointing=True)
    out = pretrain(dataclasses.replace(config, out=config.out.with_name("less"), accelerate=options))
    assert read_losses(out) == pytest.approx(expected, abs=1e-6)
    microbatches, layers = 3 * 2, 2
    assert len(calls) - 2 * plain == microbatches * layers


def test_a_head_that_is_more_than_a_matrix_is_left_to_the_model(bases):
    """The loss without whole logits is for families whose logits it reproduces."""
    plain = {family: has_plain_head(load_model(bases[family])) for family in FAMILIES + MORE_FAMILIES}
    assert [family for family, is_plain in plain.items() if not is_plain] == ["gptj", "gemma2"]


@pytest.mark.fault(9)
def test_a_step_with_a_nan_gradient_is_left_out_and_five_in_a_row_stop_the_run(settings, monkeypatch, read_losses):
    from hanlm.errors import InputError
    from pretrain.accelerated import loss

    original, calls, bad = loss.linear_cross_entropy, [], {3}

    def spoiled(*args, **options):
        calls.append(1)
        total, nll = original(*args, **options)
        return (total * math.nan if (len(calls) + 1) // 2 in bad else total), nll  # two microbatches a step

    monkeypatch.setattr(loss, "linear_cross_entropy", spoiled)
    losses = read_losses(pretrain(settings("one", backend="accelerate", steps=5)))
    assert [step for step, value in losses.items() if value is None] == [3]
    calls.clear()
    bad.update(range(2, 20))
    with pytest.raises(InputError, match="finite gradients, got nan in 5 steps in a row"):
        pretrain(settings("many", backend="accelerate", steps=10))


def test_the_plan_says_which_backend_trains_what(settings, bases):
    lines = plan(settings(backend="accelerate", model=bases["bloom"], steps=5))
    assert "(2 layers, 32 wide, 320 tokens)" in lines[0]
    assert lines[1:3] == [
        "with transformers and accelerate, the whole model on every process",
        "5 steps of all at a rate of up to 0.001",
    ]
