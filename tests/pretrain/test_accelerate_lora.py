"""LoRA of the accelerate backend: an adapter that PEFT loads, and a merged model that is the same."""

import json

import pytest
import torch
from causal_bases import make_causal_base
from peft import PeftModel
from safetensors.torch import load_file

from hanlm.adapters import adapter_base
from hanlm.artifact import open_artifact
from hanlm.errors import ConfigError
from hanlm.models import load_model
from pretrain.accelerated.options import AccelerateOptions
from pretrain.config import Phase
from pretrain.train import pretrain

NUM_BASE = 300
FAMILIES = ("bloom", "opt", "gpt_neox", "gpt2", "llama")


@pytest.fixture(scope="module")
def bases(tiny_tokenizer_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {family: make_causal_base(folder / family, family, tiny_tokenizer_folder) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_the_adapter_and_the_merged_model_predicts_the_same(settings, bases, read_losses, family):
    options = AccelerateOptions(lora_rank=4)
    config = settings(backend="accelerate", accelerate=options, model=bases[family], steps=12, lr=0.02)
    out = pretrain(config)
    losses = read_losses(out)
    assert losses[1] - losses[12] > 0.1
    # The adapter is an artifact that belongs on the base.
    assert open_artifact(out, "model").manifest["files"].keys() >= {"adapter/adapter_model.safetensors"}
    assert adapter_base(out / "adapter") == config.model
    base, merged = load_model(config.model), load_model(out)
    ids = torch.randint(3, 320, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(out / "adapter"))(ids).logits
        after = merged(ids).logits
    assert (adapted - before).abs().max() > 0.05
    torch.testing.assert_close(after, adapted, atol=1e-4, rtol=0)
    # Rows of base tokens, and all that is no linear layer, are the base's to the bit.
    old, new = dict(load_model(config.model).named_parameters()), dict(merged.named_parameters())
    table = [n for n, p in merged.named_parameters() if p is merged.get_input_embeddings().weight]
    assert torch.equal(old[table[0]][:NUM_BASE], new[table[0]][:NUM_BASE])
    assert not (old[table[0]][NUM_BASE:] == new[table[0]][NUM_BASE:]).all(dim=1).any()
    vectors = [n for n, p in new.items() if p.ndim == 1]
    assert vectors
    assert all(torch.equal(old[n], new[n]) for n in vectors)


def test_a_phase_of_new_rows_leaves_the_adapters_at_nothing(settings, bases, read_weights):
    """And the optimizer holds moments of the new rows alone."""
    phases = (Phase(trainable="new_rows", lr=0.05, steps=4),)
    options = AccelerateOptions(lora_rank=4)
    config = settings(backend="accelerate", accelerate=options, model=bases["gpt_neox"], phases=phases)
    out = pretrain(config)
    before, after = read_weights(config.model), read_weights(out)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert len(changed) == 2
    for name in changed:
        assert torch.equal(before[name][:NUM_BASE], after[name][:NUM_BASE])
    checkpoint = config.out.with_name("out.work") / "checkpoints" / "step-0000004"
    assert not (checkpoint / "optimizer.safetensors").exists()  # the phase is over
    saved = load_file(checkpoint / "model.safetensors")
    assert all(not tensor.any() for name, tensor in saved.items() if "lora_B" in name)


def test_chosen_layers_get_adapters_and_unknown_ones_are_refused_with_names_there_are(settings, bases):
    options = AccelerateOptions(lora_rank=2, lora_alpha=8.0, lora_targets=("query_key_value",))
    config = settings(backend="accelerate", accelerate=options, model=bases["bloom"], steps=2)
    out = pretrain(config)
    saved = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"], saved["target_modules"]) == (2, 8.0, ["query_key_value"])
    wrong = AccelerateOptions(lora_rank=2, lora_targets=("q_proj",))
    with pytest.raises(ConfigError, match=r"lora-targets names q_proj, .* such as query_key_value, dense"):
        pretrain(settings("other", backend="accelerate", accelerate=wrong, model=bases["bloom"], steps=2))


@pytest.mark.parametrize(
    "changes",
    [{"lora_rank": -1}, {"lora_rank": 4, "lora_alpha": 0.0}, {"lora_rank": 4, "lora_targets": ()}, {"lora_alpha": 4.0}],
)
def test_options_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ConfigError, match=r"--accelerate\.lora"):
        AccelerateOptions(**changes)
