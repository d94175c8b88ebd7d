"""What cannot be trained on is refused before anything starts."""

import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import pytest

from hanlm.artifact import MANIFEST
from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.publish import hash_input, publish, seal
from pretrain.config import Phase, PretrainConfig
from pretrain.layout import micro_batch_size
from pretrain.train import check_inputs, plan, pretrain


def copy_tokens(tokens: Path, out: Path, **changes: object) -> Path:
    """Copy a tokens artifact with other manifest keys, correctly sealed."""
    shutil.copytree(tokens, out)
    manifest = json.loads((out / MANIFEST).read_text())
    manifest.pop("files")
    seal(out, manifest | changes)
    return out


@pytest.mark.fault(20)
def test_tokens_of_another_tokenizer_are_refused_with_the_command_that_mends_it(settings, tiny_tokens, tmp_path):
    other = copy_tokens(tiny_tokens, tmp_path / "other", tokenizer_hash="f" * 64)
    config = settings(tokens=(other,))
    with pytest.raises(ArtifactError, match=rf"{other} \(f+\).*{config.model}.*hanlm corpus tokenize"):
        pretrain(config)
    assert not config.out.with_name("out.work").exists()


@pytest.mark.fault(18)
def test_a_truncated_bin_is_refused_before_training(settings, tiny_tokens, tmp_path):
    tokens = copy_tokens(tiny_tokens, tmp_path / "cut")
    with (tokens / "train-news.bin").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ArtifactError, match=r"train-news\.bin should hold \d+ bytes by its index, got 100"):
        pretrain(settings(tokens=(tokens,)))


@pytest.mark.fault(19)
def test_ids_beyond_the_models_rows_are_refused(settings, tiny_tokens, tmp_path):
    tokens = copy_tokens(tiny_tokens, tmp_path / "large", vocab_size=400)
    with pytest.raises(InputError, match=r"a vocabulary of 400, but .* has 320 rows"):
        pretrain(settings(tokens=(tokens,)))


def write_corpus(out: Path, text: str) -> Path:
    """Publish something that is a corpus to whoever asks for its hash."""
    with publish(out, kind="corpus", config={}, overwrite=True) as draft:
        (draft.folder / "train-00000.jsonl.zst").write_text(text)
    return out


def test_tokens_of_a_corpus_that_has_changed_since_are_refused(settings, tiny_tokens, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", "old")
    inputs = {"corpus-0": hash_input(corpus), "tokenizer": {"path": str(tmp_path), "hash": "0"}}
    tokens = copy_tokens(tiny_tokens, tmp_path / "tokens", inputs=inputs)
    check_inputs(settings(tokens=(tokens,)), verify=True)
    write_corpus(corpus, "new")
    config = settings(tokens=(tokens,))
    with pytest.raises(ArtifactError, match=r"corpus as it was .* changed since .* run `hanlm corpus tokenize` again"):
        pretrain(config)
    assert not config.out.with_name("out.work").exists()
    shutil.rmtree(corpus)  # tokens may travel without it
    check_inputs(config, verify=True)


@pytest.mark.fault(6)
def test_a_flipped_bit_in_the_tokens_is_named(settings, tiny_tokens, tmp_path):
    tokens = copy_tokens(tiny_tokens, tmp_path / "flipped")
    data = bytearray((tokens / "train-docs.bin").read_bytes())
    data[0] ^= 1
    (tokens / "train-docs.bin").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"train-docs\.bin fails its checksum"):
        pretrain(settings(tokens=(tokens,)))


@pytest.mark.fault(22)
def test_weights_only_as_a_pickle_are_refused_and_never_opened(settings, extended_model, tmp_path):
    bad, trace = tmp_path / "pickle", tmp_path / "it-ran"

    class Payload:
        def __reduce__(self):
            return Path.touch, (trace,)

    shutil.copytree(extended_model, bad)
    (bad / "model.safetensors").unlink()
    (bad / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match="pickle"):
        pretrain(settings(model=bad))
    assert not trace.exists()


def test_missing_inputs_are_named(settings, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        pretrain(settings(model=tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"tokens artifact at .*nowhere"):
        pretrain(settings(tokens=(tmp_path / "nowhere",)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensor_parallel": 4}, "does not divide the model's 2 key-value heads"),
        ({"pipeline_parallel": 3}, "does not divide the model's 2 layers"),
        ({"sequence_parallel": True}, "needs --tensor-parallel"),
        ({"tensor_parallel": 2, "sequence_parallel": True, "seq_length": 33}, "divisible by 2, got 33"),
        ({"seq_length": 1000}, "beyond the model's 256 positions"),
        ({"micro_batch_size": 3}, "must be divisible by --micro-batch-size"),
        ({"mix": {"zh": 1.0}}, "--mix must give each language"),
        ({"report_to": ("nobody",)}, "report_to"),
    ],
)
def test_what_cannot_be_is_refused_by_the_plan_as_by_the_run_which_leaves_nothing_behind(settings, changes, words):
    config = settings(**changes)
    for command in (plan, pretrain):
        with pytest.raises(ConfigError, match=words):
            command(config)
    assert not list(config.out.parent.iterdir())


def test_a_layout_of_more_processes_than_there_are_is_planned_but_not_run(settings, monkeypatch):
    config = settings(tensor_parallel=2)
    assert "on each of 1 data-parallel ranks" in plan(config)[-2]
    with pytest.raises(ConfigError, match="number of processes divisible by"):
        pretrain(config)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert "on each of 4 data-parallel ranks" in plan(settings(tensor_parallel=2, micro_batch_size=None))[-2]
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="number of processes divisible by"):
        plan(config)


@pytest.mark.parametrize(
    ("global_batch_size", "data_size", "expected"), [(4, 1, 4), (32, 1, 8), (32, 8, 4), (12, 1, 6), (13, 1, 1)]
)
def test_a_process_takes_as_many_sequences_at_once_as_divide_its_part_up_to_8(global_batch_size, data_size, expected):
    assert micro_batch_size(global_batch_size, None, data_size=data_size) == expected


def test_a_step_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ConfigError, match="data-parallel processes = 3; choose a multiple of 3"):
        micro_batch_size(8, None, data_size=3)


def test_code_that_a_base_brings_is_refused_without_naming_a_flag_that_there_is_not(settings, extended_model, tmp_path):
    folder = tmp_path / "code"
    shutil.copytree(extended_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "m.M"}}))
    with pytest.raises(InputError, match="auto_map") as refusal:
        plan(settings(model=folder))
    assert "--trust-remote-code" not in str(refusal.value)
    assert "pretrain runs none" in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [{"steps": None}, {"steps": 2, "seconds": 3.0}, {"tokens": ()}, {"warmup_ratio": 1.0}, {"keep_checkpoints": 0}],
)
def test_a_configuration_that_contradicts_itself_is_refused(changes):
    fine = PretrainConfig(model=Path("m"), tokens=(Path("t"),), out=Path("o"), steps=1)
    with pytest.raises(ConfigError):
        dataclasses.replace(fine, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": None}, "got none; say how long"),
        ({"seconds": 3.0}, r"got steps, seconds; leave all but one out \(what a --config file says counts too\)"),
        ({"phases": (Phase(steps=1),)}, "got steps, phases; phases have lengths of their own: change those"),
    ],
)
def test_a_length_that_is_missing_or_said_twice_is_refused_with_the_remedy(changes, words):
    fine = PretrainConfig(model=Path("m"), tokens=(Path("t"),), out=Path("o"), steps=1)
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(fine, **changes)


@pytest.mark.parametrize("length", [{}, {"steps": 1, "seconds": 1.0}, {"steps": 0}, {"seconds": -1.0}])
def test_a_phase_has_one_positive_length(length):
    with pytest.raises(ConfigError):
        Phase(**length)


def test_the_plan_says_what_would_be_trained(settings):
    lines = plan(settings(steps=5, new_rows_steps=2, mix={"zh": 4, "en": 1}, micro_batch_size=None))
    assert lines[0].endswith("tokens: 80% zh, 20% en") or lines[0].endswith("tokens: 20% en, 80% zh")
    assert lines[1:4] == [
        "2 steps of new rows at a rate of up to 0.003",
        "5 steps of all at a rate of up to 0.001",
        "a step: 4 sequences of 32 tokens, 4 at once on each of 1 data-parallel ranks",
    ]


@pytest.mark.parametrize("form", ["flag", "yaml"])
def test_the_mix_is_read_from_a_flag_and_from_yaml(settings, tmp_path, form, capsys):
    from hanlm import cli

    config = settings()
    arguments = ["--mix", "zh=0.8,en=0.2"]
    if form == "yaml":
        (tmp_path / "c.yaml").write_text("mix: {zh: 0.8, en: 0.2}\n")
        arguments = ["--config", str(tmp_path / "c.yaml")]
    base = ["--model", str(config.model), "--tokens", str(config.tokens[0]), "--out", str(config.out), "--steps", "2"]
    with pytest.raises(SystemExit) as done:
        cli.main(["pretrain", *base, "--seq-length", "32", *arguments, "--dry-run"])
    assert done.value.code == 0
    assert "mix:\n  zh: 0.8\n  en: 0.2\n" in capsys.readouterr().out


def test_phases_are_read_from_yaml(settings, tmp_path, capsys):
    from hanlm import cli

    config = settings()
    (tmp_path / "c.yaml").write_text(
        f"model: {config.model}\ntokens: [{config.tokens[0]}]\nout: {config.out}\nseq_length: 32\n"
        "phases:\n- {trainable: new_rows, lr: 0.01, steps: 3}\n- {seconds: 2.5}\n"
    )
    with pytest.raises(SystemExit) as done:
        cli.main(["pretrain", "--config", str(tmp_path / "c.yaml"), "--dry-run"])
    assert done.value.code == 0
    assert "# 3 steps of new rows at a rate of up to 0.01\n# 2.5 seconds of all" in capsys.readouterr().out


def test_an_unknown_tokens_key_in_yaml_suggests_the_right_one(tmp_path, capsys):
    from hanlm import cli

    (tmp_path / "c.yaml").write_text("seq_lenght: 32\n")
    with pytest.raises(SystemExit) as done:
        cli.main(["pretrain", "--config", str(tmp_path / "c.yaml")])
    assert done.value.code == 2
    assert "did you mean 'seq_length'" in capsys.readouterr().err
