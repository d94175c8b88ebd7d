"""What the accelerate backend cannot train is refused in one sentence before anything starts."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from causal_bases import make_causal_base

from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.models import load_model
from pretrain.accelerated.options import AccelerateOptions
from pretrain.checkpoints.saving import Saving
from pretrain.planning.doctor import DoctorConfig
from pretrain.train import plan, pretrain


@pytest.fixture(scope="module")
def bloom(tiny_tokenizer_folder, tmp_path_factory):
    return make_causal_base(tmp_path_factory.mktemp("base") / "bloom", "bloom", tiny_tokenizer_folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensor_parallel": 2}, "--tensor-parallel cannot apply with --backend accelerate"),
        ({"pipeline_parallel": 2, "sequence_parallel": True}, "--pipeline-parallel, --sequence-parallel cannot apply"),
        (
            {"distributed_optimizer": True},
            "--distributed-optimizer is for .* accelerate leave it out",
        ),
        (
            {"saving": Saving(asynchronous=True)},
            "--saving.asynchronous is for .* accelerate leave it out",
        ),
        ({"isolate_documents": True}, "--isolate-documents is for --backend megatron; with accelerate pack without"),
        ({"recompute": True}, "--recompute is for .* pass --accelerate.gradient-checkpointing"),
        ({"micro_batch_size": 3}, "must be divisible by --micro-batch-size"),
        ({"mix": {"zh": 1.0}}, "--mix must give each language"),
        (
            {"backend": "megatron", "accelerate": AccelerateOptions(gradient_checkpointing=True)},
            "add --backend accelerate",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_the_plan_as_by_the_run_which_leaves_nothing_behind(
    settings, bloom, changes, words
):
    config = settings(**{"backend": "accelerate", "model": bloom} | changes)
    for command in (plan, pretrain):
        with pytest.raises(ConfigError, match=words):
            command(config)
    assert not list(config.out.parent.iterdir())


ENCODER_DECODERS = {
    "flan-t5": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
    "flan-ul2": {"model_type": "t5", "d_model": 4096, "architectures": ["T5ForConditionalGeneration"]},
}
CHATGLM = {
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "auto_map": {"AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"},
    "position_encoding_2d": True,
}


@pytest.mark.parametrize("backend", ["megatron", "accelerate"])
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ENCODER_DECODERS["flan-t5"], "is an encoder-decoder.* choose a "),
        (ENCODER_DECODERS["flan-ul2"], "is an encoder-decoder.* choose a "),
        (CHATGLM, "prefix in both directions.* choose a "),
    ],
)
def test_encoder_decoders_and_prefix_models_are_refused_by_every_command_that_loads_a_model(
    settings, bloom, tmp_path, backend, config, words
):
    folder = Path(shutil.copytree(bloom, tmp_path / "base"))
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=words) as refusal:
        pretrain(settings(backend=backend, model=folder))
    assert str(refusal.value).count(". ") == 0
    with pytest.raises(InputError, match=words):
        load_model(folder)


def test_later_generations_of_glm_are_not_taken_for_the_first(bloom, tmp_path):
    """Without code of their own they are refused for that alone, and GLM-4 is a model of transformers."""
    folder = Path(shutil.copytree(bloom, tmp_path / "base"))
    (folder / "config.json").write_text(json.dumps(CHATGLM | {"position_encoding_2d": False}))
    with pytest.raises(InputError, match="auto_map"):
        load_model(folder)


def test_a_family_that_megatron_does_not_know_is_shown_the_other_backend(settings, bloom):
    with pytest.raises(InputError, match=r"'bloom', which .* does not know .*train it with `--backend accelerate`"):
        pretrain(settings(model=bloom))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "nobody-knows"}, "of no model that transformers knows"),
        ({"model_type": "vit"}, "'vit', of which transformers has no causal language model"),
    ],
)
def test_a_model_that_is_no_causal_one_is_refused(settings, bloom, tmp_path, config, words):
    folder = Path(shutil.copytree(bloom, tmp_path / "base"))
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=words):
        pretrain(settings(backend="accelerate", model=folder))


def test_sequences_beyond_the_positions_are_refused_where_there_are_such(
    settings, bloom, tiny_tokenizer_folder, tmp_path
):
    gpt2 = make_causal_base(tmp_path / "gpt2", "gpt2", tiny_tokenizer_folder)
    with pytest.raises(ConfigError, match="--seq-length 200 is beyond the model's 128 positions"):
        plan(settings(backend="accelerate", model=gpt2, seq_length=200))
    plan(settings(backend="accelerate", model=bloom, seq_length=4096))  # distances, not positions


@pytest.mark.fault(20)
def test_tokens_of_another_tokenizer_are_refused(settings, bloom, tmp_path):
    folder = Path(shutil.copytree(bloom, tmp_path / "other"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ArtifactError, match="hanlm corpus tokenize"):
        pretrain(settings(backend="accelerate", model=folder))


@pytest.mark.fault(22)
def test_weights_only_as_a_pickle_are_refused_and_never_opened(settings, bloom, tmp_path):
    bad, trace = Path(shutil.copytree(bloom, tmp_path / "pickle")), tmp_path / "it-ran"

    class Payload:
        def __reduce__(self):
            return Path.touch, (trace,)

    (bad / "model.safetensors").unlink()
    (bad / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match="pickle"):
        pretrain(settings(backend="accelerate", model=bad))
    assert not trace.exists()


@pytest.mark.fault(23)
def test_code_that_a_base_brings_is_refused(settings, bloom, tmp_path):
    folder = Path(shutil.copytree(bloom, tmp_path / "code"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "m.M"}}))
    with pytest.raises(InputError, match=r"auto_map.*pretrain runs none"):
        pretrain(settings(backend="accelerate", model=folder))


def test_weights_that_are_missing_are_named_before_a_step_is_done(settings, bloom, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(bloom, tmp_path / "cut"))
    weights = load_file(folder / "model.safetensors")
    weights.pop("transformer.ln_f.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weights .* transformer\.ln_f\.weight"):
        pretrain(settings(backend="accelerate", model=folder))


def test_accelerate_configured_to_divide_the_model_is_refused(settings, bloom, monkeypatch):
    from accelerate.utils import DistributedType

    monkeypatch.setattr("accelerate.Accelerator.distributed_type", DistributedType.FSDP)
    with pytest.raises(ConfigError, match=r"configured for FSDP.* hanlm\.torchrun"):
        pretrain(settings(backend="accelerate", model=bloom))


def test_the_flags_of_the_backend_are_read_from_the_command_line_and_from_yaml(settings, bloom, tmp_path, capsys):
    from hanlm import cli

    config = settings()
    (tmp_path / "c.yaml").write_text("backend: accelerate\ntrainable: lora\nrows: all\nlora: {rank: 4}\n")
    words = ["--model", bloom, "--tokens", config.tokens[0], "--out", config.out, "--steps", 2, "--seq-length", 32]
    flags = ["--backend", "accelerate", "--trainable", "lora", "--rows", "all", "--lora.rank", "4"]
    for given in (["--config", tmp_path / "c.yaml"], flags):
        with pytest.raises(SystemExit) as done:
            cli.main(["pretrain", *map(str, words), *map(str, given), "--dry-run"])
        said = capsys.readouterr()
        assert done.value.code == 0, said.err
        assert "2 steps of LoRA of rank 4 on all-linear, beside all rows of the vocabulary at a rate" in said.out
        assert "rank: 4" in said.out


def test_the_doctor_says_that_it_knows_the_other_backend_only(bloom, tiny_tokens, tmp_path):
    with pytest.raises(ConfigError, match=r"looks at runs of --backend megatron, got accelerate; .* --dry-run"):
        DoctorConfig(backend="accelerate", model=bloom, tokens=(tiny_tokens,), out=tmp_path / "out", steps=1)
