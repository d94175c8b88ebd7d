"""Training end to end on a tiny model: what it learns, what it writes, and that it can be stopped and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hanlm.adapters import adapter_base, load_merged
from hanlm.artifact import open_artifact
from hanlm.chat import ALPACA_ZH
from hanlm.errors import ArtifactError, ConfigError, HanLMError, InputError, Interrupted
from hanlm.models import load_model
from hanlm.publish import work_folder
from hanlm.tokenizing import load_tokenizer, tokenizer_hash
from sft.adapter import save_adapter
from sft.config import SftConfig
from sft.generate import ChatModel, Sampling
from sft.train import plan, sft

GREEDY = Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=40)


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def steps(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_a_model_that_learned_its_rows_answers_them_and_stops_by_itself(trained: Path):
    model = ChatModel(trained / "model", device="cpu")
    for question, expected in [("你好", "很好。"), ("判断情感\n太差了", "差评！"), ("一", "二")]:
        answer = model.answer([{"role": "user", "content": question}], GREEDY)
        assert (answer.text, answer.stopped) == (expected, "eos")
    turns = [
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "二"},
        {"role": "user", "content": "三"},
    ]
    assert model.answer(turns, GREEDY).text == "四四"


def test_the_three_artifacts_are_whole_and_carry_the_tokenizer_of_the_base(trained: Path, base_with_report: Path):
    expected = tokenizer_hash(base_with_report)
    manifests = [
        open_artifact(trained, "sft").manifest,
        open_artifact(trained / "adapter", "adapter").manifest,
        open_artifact(trained / "model", "model").manifest,
    ]
    assert {m["tokenizer_hash"] for m in manifests} == {expected} == {tokenizer_hash(trained / "model")}
    counts = manifests[0]["counts"]
    assert (counts["rows_in"], counts["rows_train"], counts["rows_valid"]) == (3, 3, 0)
    assert manifests[1]["adapter"]["num_parameters"] > 0
    assert not work_folder(trained).exists()


def test_the_merged_model_predicts_what_base_and_adapter_do_and_not_what_the_base_does(
    trained: Path, base_with_report: Path
):
    ids = list(range(5, 60))
    base = logits(load_model(base_with_report), ids)
    adapted = logits(load_merged(trained / "adapter", base_with_report), ids)
    merged = logits(load_model(trained / "model"), ids)
    assert (merged - adapted).norm() < 1e-4 * (adapted - base).norm()
    check = open_artifact(trained / "model", "model").manifest["merge"]
    assert 0 <= check["stored_error"] < 0.01 * check["effect"]


def test_the_chat_model_names_its_end_and_pad_tokens_and_keeps_the_vocabulary_report(trained: Path):
    model, tokenizer = trained / "model", load_tokenizer(trained / "model")
    generation = json.loads((model / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.eos_token_id
    assert generation["pad_token_id"] == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert "{% generation %}" in str(tokenizer.chat_template)
    assert json.loads((model / "vocab_report.json").read_text()) == {"num_base_tokens": 320}
    assert (model / "tokenizer.model").is_file()
    assert "apache-2.0" in (model / "README.md").read_text()
    assert not list(model.glob("*.bin"))


def test_tied_embeddings_stay_tied_and_bf16_weights_stay_bf16(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    from transformers import AutoConfig, LlamaForCausalLM

    base = tmp_path / "tied"
    shutil.copytree(tiny_model_folder, base)
    settings = AutoConfig.from_pretrained(str(base))
    settings.tie_word_embeddings = True
    torch.manual_seed(0)
    LlamaForCausalLM(settings).to(torch.bfloat16).save_pretrained(str(base))  # type: ignore[arg-type]
    out = sft(config_maker(base, rows_file, tmp_path / "out", epochs=30, lora_dropout=0.1))
    assert out is not None
    merged: Any = load_model(out / "model")
    assert merged.lm_head.weight.data_ptr() == merged.model.embed_tokens.weight.data_ptr()
    assert merged.lm_head.weight.dtype == torch.bfloat16
    assert "lm_head.weight" not in load_file(out / "model" / "model.safetensors")
    assert torch.equal(merged.lm_head.weight, load_model(base).lm_head.weight)


@pytest.mark.parametrize("tied", [True, False])
def test_trained_rows_of_new_tokens_are_saved_alone_and_merged_and_the_other_rows_stay(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any, tied: bool
):
    from transformers import AutoConfig, LlamaForCausalLM

    base = tmp_path / "base"
    shutil.copytree(tiny_model_folder, base)
    settings = AutoConfig.from_pretrained(str(base))
    settings.tie_word_embeddings = tied
    torch.manual_seed(0)
    before: Any = LlamaForCausalLM(settings)  # type: ignore[arg-type]
    before.save_pretrained(str(base))
    (base / "vocab_report.json").write_text('{"num_base_tokens": 200}', encoding="utf-8")
    out = sft(config_maker(base, rows_file, tmp_path / "out", epochs=3, train_embeddings="new"))
    assert out is not None
    after: Any = load_model(out / "model")
    for name in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, name)().weight, getattr(after, name)().weight
        assert torch.equal(old[:200], new[:200])
        assert (old[200:] != new[200:]).any()
    assert (after.lm_head.weight.data_ptr() == after.model.embed_tokens.weight.data_ptr()) is tied
    saved = [t for name, t in weights(out).items() if "trainable_tokens" in name]
    assert [t.shape[0] for t in saved] == [before.vocab_size - 200] * (1 if tied else 2)
    again = load_merged(out / "adapter", base)
    torch.testing.assert_close(logits(again, [1, 250, 300]), logits(after, [1, 250, 300]))


def test_new_rows_cannot_be_trained_where_no_report_names_them(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    with pytest.raises(ConfigError, match="vocab_report"):
        sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out", train_embeddings="new"))


def test_gradients_flow_through_checkpointed_activations_though_the_embeddings_are_frozen(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    plain = sft(config_maker(tiny_model_folder, rows_file, tmp_path / "plain", max_steps=3))
    saved = sft(
        config_maker(tiny_model_folder, rows_file, tmp_path / "saved", max_steps=3, gradient_checkpointing=True)
    )
    assert plain is not None
    assert saved is not None
    assert any(t.any() for name, t in weights(saved).items() if "layers.0" in name and "lora_B" in name)
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(saved)[name], tensor)


def test_held_out_loss_is_reported_for_base_and_adapted_model(
    tmp_path: Path, tiny_model_folder: Path, rows_writer: Any, config_maker: Any
):
    rows = [{"instruction": f"问题{i}", "output": "好的"} for i in range(40)]
    path = rows_writer(tmp_path / "rows.jsonl", rows)
    out = sft(config_maker(tiny_model_folder, path, tmp_path / "out", epochs=3, valid_fraction=0.2))
    assert out is not None
    manifest = open_artifact(out, "sft").manifest
    assert manifest["counts"]["rows_valid"] + manifest["counts"]["rows_train"] == 40
    assert manifest["losses"]["valid_after"] < manifest["losses"]["valid_before"]


def stop_after(step: int, signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process a signal when ``step`` steps are done, once."""
    from trl import SFTTrainer

    original = SFTTrainer.training_step
    count = 0

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signum)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "training_step", counted)


@pytest.mark.fault(3)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on_to_the_same_weights(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any, signum: int
):
    settings: dict[str, Any] = {"epochs": 5, "lora_dropout": 0.1}
    whole = sft(config_maker(tiny_model_folder, rows_file, tmp_path / "whole", **settings))
    config = config_maker(tiny_model_folder, rows_file, tmp_path / "parts", **settings)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(3, signum, patch)
        with pytest.raises(Interrupted, match="saved after step 3"):
            sft(config)
    assert not config.out.exists()
    parts = sft(config)
    assert whole is not None
    assert parts is not None
    assert len(steps(whole)) == 8
    assert [s["step"] for s in steps(parts)] == list(range(1, 9))
    assert [s["loss"] for s in steps(parts)] == [s["loss"] for s in steps(whole)]
    assert all(torch.equal(tensor, weights(parts)[name]) for name, tensor in weights(whole).items())
    assert not work_folder(config.out).exists()


def test_a_changed_setting_does_not_resume_another_run(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2, signal.SIGTERM, patch)
        with pytest.raises(Interrupted):
            sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out"))
    with pytest.raises(ArtifactError, match=r"other settings \(lr\)"):
        sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out", lr=1e-3))
    assert sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out", lr=1e-3, overwrite=True))


def test_a_budget_of_seconds_ends_the_training_in_time(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    out = sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out", epochs=2000, seconds=1.0))
    assert out is not None
    last = steps(out)[-1]
    assert last["step"] < 1000
    assert last["learning_rate"] < 1e-3  # fell from 1e-2 with the clock


@pytest.mark.fault(3)
@pytest.mark.parametrize("limits", [{"epochs": 2000, "seconds": 0.5}, {"max_steps": 3}])
def test_a_run_stopped_after_its_training_does_not_train_again(
    tmp_path: Path,
    rows_file: Path,
    tiny_model_folder: Path,
    config_maker: Any,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, Any],
):
    from trl import SFTTrainer

    def press(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    config = config_maker(tiny_model_folder, rows_file, tmp_path / "out", **limits)
    with monkeypatch.context() as patch:
        patch.setattr("sft.train.write_merged", press)
        with pytest.raises(KeyboardInterrupt):
            sft(config)
    trained = steps(work_folder(config.out))
    monkeypatch.setattr(SFTTrainer, "training_step", press)
    out = sft(config)
    assert out is not None
    assert steps(out) == trained
    assert weights(out)


@pytest.mark.fault(3)
def test_ctrl_c_in_the_scoring_of_held_out_rows_stops_at_once(
    tmp_path: Path, tiny_model_folder: Path, rows_writer: Any, interrupt: Callable[..., str]
):
    path = rows_writer(tmp_path / "rows.jsonl", [{"instruction": f"问题{i}", "output": "好的"} for i in range(20)])
    words = ["--data", path, "--max-steps", 1, "--max-length", 256, "--valid-fraction", 0.3, "--device", "cpu"]
    interrupt("transformers.Trainer.evaluate", "sft", "--model", tiny_model_folder, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()
    assert (work_folder(tmp_path / "out") / "checkpoints" / "checkpoint-1").is_dir()


def test_a_base_that_names_a_temperature_without_sampling_is_trained_and_its_settings_are_kept(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    base = tmp_path / "base"
    shutil.copytree(tiny_model_folder, base)
    settings = {"temperature": 0.9, "top_p": 0.6, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1}
    (base / "generation_config.json").write_text(json.dumps(settings))
    out = sft(config_maker(base, rows_file, tmp_path / "out", max_steps=2))
    assert out is not None
    kept = json.loads((out / "model" / "generation_config.json").read_text())
    assert (kept["temperature"], kept["top_p"], kept["do_sample"]) == (0.9, 0.6, True)
    assert kept["pad_token_id"] == load_tokenizer(base).pad_token_id


@pytest.mark.parametrize("settings", ['{"early_stopping": "perhaps"}', '{"num_return_sequences": 4}', "{", "[]"])
def test_generation_settings_that_could_not_be_saved_are_refused_before_the_training(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any, settings: str
):
    base = tmp_path / "base"
    shutil.copytree(tiny_model_folder, base)
    (base / "generation_config.json").write_text(settings)
    with pytest.raises(InputError, match=r"generation_config\.json cannot be used"):
        plan(config_maker(base, rows_file, tmp_path / "out"))


def test_a_base_from_elsewhere_is_hashed_once(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any, monkeypatch: pytest.MonkeyPatch
):
    import hanlm.artifact

    hashed: list[Path] = []
    sha256 = hanlm.artifact.sha256_of

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr(hanlm.artifact, "sha256_of", counted)
    out = sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out", max_steps=1))
    assert out is not None
    assert hashed.count(tiny_model_folder / "model.safetensors") == 1
    inputs = [
        open_artifact(folder, kind).manifest["inputs"]
        for folder, kind in ((out, "sft"), (out / "adapter", "adapter"), (out / "model", "model"))
    ]
    assert inputs[0] == inputs[1] == inputs[2]
    assert inputs[0]["model"]["path"] == str(tiny_model_folder)


@pytest.mark.fault(14)
def test_the_published_list_of_bad_rows_is_that_of_this_run_alone(
    tmp_path: Path, tiny_model_folder: Path, rows_writer: Any, config_maker: Any
):
    good = [{"instruction": "你好", "output": f"很好{i}。"} for i in range(4)]
    path = rows_writer(tmp_path / "rows.jsonl", [*good, {"instruction": "x", "output": None}])
    config = config_maker(tiny_model_folder, path, tmp_path / "out", max_steps=1, max_quarantined=0.0)
    with pytest.raises(InputError, match="null_field: 1"):
        sft(config)
    listed = work_folder(config.out) / "quarantine.jsonl"
    assert len(listed.read_text().splitlines()) == 1
    rows_writer(path, good)
    assert sft(config)
    assert not (config.out / "quarantine.jsonl").exists()
    rows_writer(path, [*good, {"instruction": "x", "output": None}])
    out = sft(config_maker(tiny_model_folder, path, tmp_path / "two", max_steps=1, max_quarantined=0.5))
    assert out is not None
    assert json.loads((out / "quarantine.jsonl").read_text())["reason"] == "null_field"


KILLED = """
import os, signal, sys
from pkgutil import resolve_name

from hanlm.cli import main

owner, _, name = sys.argv[1].rpartition(".")
calls_left, function = int(sys.argv[2]), getattr(resolve_name(owner), name)

def killed(*args, **options):
    global calls_left
    calls_left -= 1
    if not calls_left:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*args, **options)

setattr(resolve_name(owner), name, killed)
main(sys.argv[3:])
"""
"""Runs a command and kills it when a function is called for the nth time."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "calls", "left", "num_whole"),
    [
        # In a step; between the adapter's weights and the optimizer's state; when all is written but not yet sealed.
        pytest.param("trl.SFTTrainer.training_step", 8, ["3", "6"], 2, marks=pytest.mark.fault(1)),
        pytest.param(
            "transformers.Trainer._save_optimizer_and_scheduler", 3, ["3", "6", "9"], 2, marks=pytest.mark.fault(2)
        ),
        pytest.param("hanlm.files.replace_text", 4, ["6", "9"], 1, marks=pytest.mark.fault(2)),
    ],
)
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint_to_the_same_weights_bit_for_bit(
    tmp_path: Path,
    rows_file: Path,
    tiny_model_folder: Path,
    config_maker: Any,
    target: str,
    calls: int,
    left: list[str],
    num_whole: int,
):
    import yaml

    from hanlm.config import to_plain

    settings: dict[str, Any] = {"max_steps": 11, "epochs": 20, "lora_dropout": 0.1, "save_steps": 3}
    whole = sft(config_maker(tiny_model_folder, rows_file, tmp_path / "whole", **settings))
    config = config_maker(tiny_model_folder, rows_file, tmp_path / "killed", **settings)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_plain(config)))
    command = [sys.executable, "-c", KILLED, target, str(calls), "sft", "--config", str(tmp_path / "config.yaml")]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # sums are only bit-equal over as many threads
    killed = subprocess.run(command, env=one_thread, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoints = work_folder(config.out) / "checkpoints"
    assert {p.name.rpartition("-")[2] for p in checkpoints.glob("checkpoint-*")} == set(left)
    assert len(list(checkpoints.glob("*/manifest.json"))) == num_whole
    assert sft(config) == config.out
    assert whole is not None
    assert all(torch.equal(tensor, weights(config.out)[name]) for name, tensor in weights(whole).items())
    assert [(s["step"], s["loss"]) for s in steps(config.out)] == [(s["step"], s["loss"]) for s in steps(whole)]


@pytest.mark.fault(4)
def test_a_full_disk_ends_with_one_sentence_and_leaves_the_earlier_result_alone(
    tmp_path: Path,
    rows_file: Path,
    tiny_model_folder: Path,
    config_maker: Any,
    capsys: pytest.CaptureFixture[str],
    full_disk: Callable[[int], AbstractContextManager[None]],
):
    import yaml

    from hanlm import cli
    from hanlm.config import to_plain

    config = config_maker(tiny_model_folder, rows_file, tmp_path / "out", max_steps=2, overwrite=True)
    assert sft(config)
    before = {p: p.read_bytes() for p in config.out.rglob("*") if p.is_file()}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_plain(config)))
    with full_disk(20_000), pytest.raises(SystemExit) as exit_info:
        cli.main(["sft", "--config", str(tmp_path / "config.yaml")])
    assert exit_info.value.code == 2
    assert "no space left" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in config.out.rglob("*") if p.is_file()} == before
    assert sft(config)


@pytest.mark.fault(6)
def test_a_flipped_bit_in_an_adapter_is_found_and_its_file_named(trained: Path, base_with_report: Path, tmp_path: Path):
    damaged = tmp_path / "adapter"
    shutil.copytree(trained / "adapter", damaged)
    raw = bytearray((damaged / "adapter_model.safetensors").read_bytes())
    raw[-7] ^= 1
    (damaged / "adapter_model.safetensors").write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"adapter_model\.safetensors fails its checksum"):
        adapter_base(damaged, base_with_report)


@pytest.mark.fault(20)
def test_an_adapter_refuses_a_base_with_another_vocabulary_or_other_weights(
    trained: Path, base_with_report: Path, tmp_path: Path
):
    other = tmp_path / "other"
    shutil.copytree(base_with_report, other)
    model: Any = load_model(other)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    model.save_pretrained(str(other))
    with pytest.raises(ArtifactError, match="other weights"):
        adapter_base(trained / "adapter", other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ArtifactError, match=r"the tokenizer of .*adapter.* is not the tokenizer of .*other.*hanlm sft"):
        adapter_base(trained / "adapter", other)


def test_a_model_that_would_run_code_is_refused_before_anything_is_written(
    unsafe_model: tuple[Path, str], tmp_path: Path, rows_file: Path, config_maker: Any
):
    folder, named = unsafe_model
    with pytest.raises(InputError, match=named):
        sft(config_maker(folder, rows_file, tmp_path / "out"))
    assert not work_folder(tmp_path / "out").exists()


def test_an_adapter_that_learned_nothing_is_no_success(tiny_model_folder: Path, rows_file: Path, tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    model: Any = get_peft_model(load_model(tiny_model_folder), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(HanLMError, match="at zero"):
        save_adapter(model, tmp_path / "zero", base=tiny_model_folder, num_rows=1)
    with torch.no_grad():
        model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight[0, 0] = float("nan")
    with pytest.raises(HanLMError, match="not finite"):
        save_adapter(model, tmp_path / "nan", base=tiny_model_folder, num_rows=1)


def type_command(*words: object) -> int:
    """Run ``hanlm`` with these words; return its exit code."""
    from hanlm.cli import main

    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return int(ended.value.code or 0)


def test_a_preview_needs_no_out_and_shows_what_bears_loss_and_what_is_set_aside(
    tmp_path: Path, rows_writer: Any, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
):
    good = [{"instruction": f"问{i}", "output": "很好。"} for i in range(60)]
    data = rows_writer(tmp_path / "rows.jsonl", [good[0], {"question": "你好"}, *good[1:]])
    words = ["sft", "--model", tiny_model_folder, "--data", data, "--max-length", 256, "--preview", 2]
    assert type_command(*words) == 0
    shown = capsys.readouterr()
    assert shown.out.count("⟦很好。</s>⟧") == 2
    assert "### 回答：" in shown.out
    assert f'quarantined: {data}:2: unknown_format: {{"question": "你好"}}' in shown.err
    assert "rows: 61 in, " in shown.err
    assert {p.name for p in tmp_path.iterdir()} == {"rows.jsonl"}


def test_a_preview_of_rows_that_a_run_would_refuse_is_refused_with_the_known_formats(
    tmp_path: Path, rows_writer: Any, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
):
    data = rows_writer(tmp_path / "rows.jsonl", [{"question": "你好", "answer": "好"}] * 9)
    words = ["sft", "--model", tiny_model_folder, "--data", data, "--max-length", 256, "--preview", 3]
    assert type_command(*words) == 2
    shown = capsys.readouterr().err
    assert shown.count("quarantined: ") == 3
    assert "ShareGPT" in shown.splitlines()[-1]


def test_a_run_without_out_is_refused_in_one_sentence(
    tmp_path: Path, rows_file: Path, capsys: pytest.CaptureFixture[str]
):
    assert type_command("sft", "--model", tmp_path, "--data", rows_file) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "--out" in said[0]
    assert "--preview" in said[0]


def test_a_run_says_what_became_of_its_rows_and_no_warning_meant_for_others(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path
):
    words = ["sft", "--model", tiny_model_folder, "--data", rows_file, "--out", tmp_path / "out", "--max-steps", "1"]
    words += ["--max-length", "256", "--device", "cpu", "--valid-fraction", "0"]
    ran = subprocess.run([sys.executable, "-m", "hanlm", *map(str, words)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "rows: 3 in, 3 to train on, 0 held out" in ran.stderr
    assert "Warning" not in ran.stderr


def with_template(model: Path, folder: Path, template: str) -> Path:
    shutil.copytree(model, folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def test_a_base_whose_template_marks_no_answers_is_trained_with_the_default_one(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any, capsys: pytest.CaptureFixture[str]
):
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    model = with_template(tiny_model_folder, tmp_path / "base", template)
    assert sft(config_maker(model, rows_file, None, preview=1)) is None
    shown = capsys.readouterr()
    assert "### 回答：" in shown.out
    assert "no generation markers" in shown.err
    with pytest.raises(InputError, match=r"generation %.*--chat-template"):
        plan(config_maker(model, rows_file, tmp_path / "out", chat_template=model / "chat_template.jinja"))


@pytest.mark.fault(24)
def test_a_template_that_loops_for_ever_or_reaches_for_python_ends_a_run_in_one_sentence(
    tmp_path: Path,
    rows_file: Path,
    tiny_model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("hanlm.chat.TEMPLATE_SECONDS", 0.3)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    reaching = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    for name, start, words in (("endless", endless, "still running"), ("reaching", reaching, "refused_by_template: 3")):
        model = with_template(tiny_model_folder, tmp_path / name, start + ALPACA_ZH)
        out = tmp_path / f"{name}-out"
        assert type_command("sft", "--model", model, "--data", rows_file, "--out", out, "--max-length", 256) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("hanlm: ")
        assert words in said
        assert not out.exists()


def test_code_of_a_model_runs_only_when_told_to_and_goes_along_with_the_chat_model(
    model_with_code: Path, rows_file: Path, tmp_path: Path, config_maker: Any
):
    with pytest.raises(InputError, match="--trust-remote-code"):
        plan(config_maker(model_with_code, rows_file, tmp_path / "out"))
    out = sft(config_maker(model_with_code, rows_file, tmp_path / "out", max_steps=2, trust_remote_code=True))
    assert out is not None
    with pytest.raises(InputError, match="auto_map"):
        ChatModel(out / "model", device="cpu")
    merged = ChatModel(out / "model", device="cpu", trust_remote_code=True)
    adapted = ChatModel(model_with_code, adapter=out / "adapter", device="cpu", trust_remote_code=True)
    assert {type(merged.model).__name__, type(adapted.model).__name__} == {"OwnModel"}
    assert type(merged.tokenizer).__name__ == "OwnTokenizer"


def test_the_plan_counts_and_refuses_before_anything_is_loaded(
    tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any
):
    assert any("rank 16" in line for line in plan(config_maker(tiny_model_folder, rows_file, tmp_path / "out")))
    with pytest.raises(ConfigError, match="context of 256"):
        plan(config_maker(tiny_model_folder, rows_file, tmp_path / "out", max_length=512))
    with pytest.raises(InputError, match="does not exist"):
        plan(config_maker(tiny_model_folder, tmp_path / "nothing.jsonl", tmp_path / "out"))


def test_an_unknown_target_module_is_named(tmp_path: Path, rows_file: Path, tiny_model_folder: Path, config_maker: Any):
    with pytest.raises(ConfigError, match="query"):
        sft(config_maker(tiny_model_folder, rows_file, tmp_path / "out", target_modules=("q_proj", "query")))


@pytest.mark.parametrize(
    "changes",
    [{"lr": 0}, {"epochs": -1}, {"warmup": 1.0}, {"seconds": 0}, {"repeat": (1.0, 2.0)}, {"device": "tpu"}],
)
def test_a_setting_out_of_range_is_refused(tmp_path: Path, changes: dict[str, Any]):
    with pytest.raises(ConfigError):
        SftConfig(model=tmp_path, data=(tmp_path,), out=tmp_path / "out", **changes)
