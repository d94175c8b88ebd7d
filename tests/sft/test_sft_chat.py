"""``hanlm chat``: one answer, a conversation from a file, a terminal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hanlm.artifact import open_artifact
from hanlm.errors import ConfigError, InputError
from sft.chat import ChatConfig, chat, plan


def answers(config: ChatConfig) -> dict[str, Any]:
    out = chat(config)
    assert out is not None
    open_artifact(out, "report")
    return json.loads((out / "chat.json").read_text(encoding="utf-8"))


def test_each_prompt_is_a_conversation_that_ends_by_itself(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = ChatConfig(
        model=trained / "model",
        prompt=("你好", "一"),
        out=tmp_path / "out",
        temperature=0,
        repetition_penalty=1.0,
        device="cpu",
    )
    report = answers(config)
    said = [c["messages"][-1] for c in report["conversations"]]
    assert said == [{"role": "assistant", "content": "很好。"}, {"role": "assistant", "content": "二"}]
    assert [c["stopped"] for c in report["conversations"]] == ["eos", "eos"]
    assert report["messages"] == report["conversations"][0]["messages"]
    assert report["tokens"] > 0
    assert report["seconds"] > 0
    assert "很好。" in capsys.readouterr().out


def test_an_adapter_on_its_base_says_what_the_merged_model_says(trained: Path, base_with_report: Path, tmp_path: Path):
    report = answers(
        ChatConfig(
            model=base_with_report,
            adapter=trained / "adapter",
            prompt=("你好",),
            out=tmp_path / "out",
            temperature=0,
            repetition_penalty=1.0,
            device="cpu",
        )
    )
    assert report["messages"][-1]["content"] == "很好。"


def test_a_conversation_from_a_file_gets_its_next_turn(trained: Path, tmp_path: Path):
    turns = [
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "二"},
        {"role": "user", "content": "三"},
    ]
    (tmp_path / "turns.json").write_text(json.dumps(turns), encoding="utf-8")
    report = answers(
        ChatConfig(
            model=trained / "model",
            messages=tmp_path / "turns.json",
            out=tmp_path / "out",
            temperature=0,
            repetition_penalty=1.0,
            device="cpu",
        )
    )
    assert report["messages"] == [*turns, {"role": "assistant", "content": "四四"}]


def test_sampling_hangs_on_the_seed_alone(trained: Path, tmp_path: Path):
    def sample(name: str, seed: int) -> str:
        config = ChatConfig(
            model=trained / "model",
            prompt=("随便说说",),
            out=tmp_path / name,
            temperature=5.0,
            top_p=1.0,
            max_new_tokens=12,
            seed=seed,
            device="cpu",
        )
        return answers(config)["messages"][-1]["content"]

    assert sample("a", 1) == sample("b", 1) != sample("c", 2)


def test_an_answer_that_is_cut_says_so(trained: Path, tmp_path: Path):
    config = ChatConfig(
        model=trained / "model", prompt=("你好",), out=tmp_path / "out", temperature=0, max_new_tokens=2, device="cpu"
    )
    assert answers(config)["stopped"] == "length"


def test_a_talk_on_the_terminal_keeps_its_turns_until_a_new_one_begins(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    typed = iter(["一", "", "三", "/new", "你好", "问" * 300, "/quit"])
    monkeypatch.setattr("builtins.input", lambda _prompt="": next(typed))
    report = answers(
        ChatConfig(model=trained / "model", out=tmp_path / "out", temperature=0, repetition_penalty=1.0, device="cpu")
    )
    talks = [[m["content"] for m in c["messages"]] for c in report["conversations"]]
    assert talks == [["一", "二", "三", "四四"], ["你好", "很好。"]]


def test_a_model_without_a_chat_template_names_the_remedy(tiny_model_folder: Path):
    with pytest.raises(InputError, match=r"no chat template.*hanlm sft"):
        chat(ChatConfig(model=tiny_model_folder, prompt=("你好",), device="cpu"))


def test_a_prompt_that_fills_the_context_is_refused(trained: Path):
    with pytest.raises(InputError, match="context is 256"):
        chat(ChatConfig(model=trained / "model", prompt=("很" * 200,), device="cpu"))


def test_malformed_messages_are_refused_before_the_model_is_loaded(trained: Path, tmp_path: Path):
    path = tmp_path / "messages.json"
    path.write_text("[{]", encoding="utf-8")
    with pytest.raises(InputError, match="not valid JSON"):
        plan(ChatConfig(model=trained / "model", messages=path))
    path.write_text('{"messages": [{"role": "assistant", "content": "x"}]}', encoding="utf-8")
    with pytest.raises(InputError, match="take turns"):
        plan(ChatConfig(model=trained / "model", messages=path))


def test_settings_out_of_range_are_refused(tmp_path: Path):
    bad: list[dict[str, Any]] = [
        {"temperature": -1},
        {"top_p": 0},
        {"max_new_tokens": 0},
        {"prompt": (" ",)},
        {"prompt": ("a",), "messages": tmp_path},
    ]
    for changes in bad:
        with pytest.raises(ConfigError):
            ChatConfig(model=tmp_path, **changes)


@pytest.mark.fault(3)
def test_ctrl_c_in_an_answer_writes_nothing(trained: Path, tmp_path: Path, interrupt: Callable[..., str]):
    words = ["chat", "--model", trained / "model", "--prompt", "你好", "--device", "cpu", "--out", tmp_path / "out"]
    interrupt("sft.generate.ChatModel.answer", *words)
    assert not (tmp_path / "out").exists()
