"""``hanlm chat``: one answer, a conversation from a file, a terminal."""

import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from hanlm.artifact import open_artifact
from hanlm.chat import ALPACA_ZH
from hanlm.errors import ArtifactError, ConfigError, HanLMError, InputError
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


def test_an_adapter_on_its_base_says_what_the_merged_model_says_and_warns_of_nothing(
    trained: Path, base_with_report: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
):
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
    assert not [w for w in recwarn if w.category is FutureWarning]  # transformers has one for PEFT's authors


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


def typed_on(monkeypatch: pytest.MonkeyPatch, lines: list[str], *, terminal: bool) -> list[str]:
    """Type lines, on a terminal or through a pipe; return the list that gets what each was asked with."""
    asked: list[str] = []
    typed = iter(lines)

    def answer(prompt: str = "") -> str:
        asked.append(prompt)
        return next(typed)

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal)
    return asked


def test_a_terminal_shows_a_question_once_and_a_pipe_shows_it_too(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    config = ChatConfig(model=trained / "model", temperature=0, repetition_penalty=1.0, device="cpu")
    asked = typed_on(monkeypatch, ["你好", "/quit"], terminal=True)
    chat(config)
    shown = capsys.readouterr()
    assert asked == ["you> ", "you> "]
    assert "你好" not in shown.out + shown.err
    asked = typed_on(monkeypatch, ["你好", "/quit"], terminal=False)
    chat(config)
    assert asked == ["", ""]
    assert capsys.readouterr().err.count("> 你好") == 1


def test_a_line_with_a_slash_is_never_sent_to_the_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    typed_on(monkeypatch, ["一", "/help", "/clear", "三", "/quit"], terminal=True)
    report = answers(talk(tmp_path / "out", trained / "model"))
    assert [m["content"] for m in report["messages"]] == ["一", "二", "三", "四四"]
    assert capsys.readouterr().err.count("/quit (or ctrl-D) ends") == 3  # at the start, and for each of the two


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "still running"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refused"),
    ],
)
def test_a_template_that_loops_for_ever_or_reaches_for_python_is_told_in_one_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, words: str
):
    monkeypatch.setattr("hanlm.chat.TEMPLATE_SECONDS", 0.3)
    folder = tmp_path / "model"
    shutil.copytree(trained / "model", folder)
    (folder / "manifest.json").unlink()
    (folder / "chat_template.jinja").write_text(start + ALPACA_ZH, encoding="utf-8")
    with pytest.raises(HanLMError, match=words):
        chat(ChatConfig(model=folder, prompt=("你好",), device="cpu"))


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
        {"prompt": ("\udcff",)},
        {"system": "\udcff"},
        {"prompt": ("a",), "messages": tmp_path},
    ]
    for changes in bad:
        with pytest.raises(ConfigError):
            ChatConfig(model=tmp_path, **changes)


def talk(out: Path, model: Path) -> ChatConfig:
    return ChatConfig(model=model, out=out, temperature=0, repetition_penalty=1.0, device="cpu")


@pytest.mark.fault(13)
def test_a_typed_line_that_is_not_utf8_is_told_and_its_neighbours_are_answered(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    typed = "一\n".encode() + b"\xe4\xb8\n" + "三\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
    report = answers(talk(tmp_path / "out", trained / "model"))
    assert [m["content"] for m in report["messages"]] == ["一", "二", "三", "四四"]
    assert "not valid UTF-8" in capsys.readouterr().err


@pytest.mark.fault(3)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_an_answer_of_a_talk_keeps_what_was_said_before(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signum: int
):
    from hanlm.cli import main
    from sft.generate import ChatModel

    typed = iter(["你好", "/new", "一", "三"])
    answer = ChatModel.answer

    def stopped(model: ChatModel, messages: Any, *args: Any, **options: Any) -> Any:
        if messages[-1]["content"] == "三":
            os.kill(os.getpid(), signum)
        return answer(model, messages, *args, **options)

    monkeypatch.setattr("builtins.input", lambda _prompt="": next(typed))
    monkeypatch.setattr(ChatModel, "answer", stopped)
    handler = signal.getsignal(signal.SIGTERM)
    words = ["--temperature", "0", "--repetition-penalty", "1", "--device", "cpu", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as ended:
        main(["chat", "--model", str(trained / "model"), *map(str, words)])
    signal.signal(signal.SIGTERM, handler)
    assert ended.value.code == 75
    assert f"hanlm: stopped; what was said before is in {tmp_path / 'out'}" in capsys.readouterr().err
    open_artifact(tmp_path / "out", "report")
    held = json.loads((tmp_path / "out" / "chat.json").read_text(encoding="utf-8"))["conversations"]
    assert [[m["content"] for m in one["messages"]] for one in held] == [["你好", "很好。"], ["一", "二"]]


@pytest.mark.fault(3)
def test_ctrl_c_in_an_answer_to_a_prompt_writes_nothing_because_it_can_be_asked_again(
    trained: Path, tmp_path: Path, interrupt: Callable[..., str]
):
    words = ["chat", "--model", trained / "model", "--prompt", "你好", "--device", "cpu", "--out", tmp_path / "out"]
    interrupt("sft.generate.ChatModel.answer", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(4)
def test_a_full_disk_publishes_no_conversation(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    full_disk: Callable[[int], AbstractContextManager[None]],
):
    from hanlm.cli import main

    words = ["--prompt", "你好", "--max-new-tokens", "2", "--device", "cpu", "--out", str(tmp_path / "out")]
    with full_disk(100), pytest.raises(SystemExit) as ended:
        main(["chat", "--model", str(trained / "model"), *words])
    assert ended.value.code == 2
    assert "no space left" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(13)
@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'[{"role": "user", "content": "\xff"}]', "not valid JSON"),
        (b'[{"role": "user", "content": "\\ud800"}]', "lone surrogate"),
        (b'[{"role": "user", "content": null}]', "not blank"),
        (b'[{"role": "user"}]', "not blank"),
        (b"null", "list of at least one"),
        (b"", "not valid JSON"),
    ],
)
def test_messages_that_cannot_be_asked_are_refused_with_the_reason(
    tiny_model_folder: Path, tmp_path: Path, raw: bytes, words: str
):
    (tmp_path / "messages.json").write_bytes(raw)
    with pytest.raises(InputError, match=words):
        plan(ChatConfig(model=tiny_model_folder, messages=tmp_path / "messages.json"))


def test_a_missing_file_or_folder_is_named(tiny_model_folder: Path, tmp_path: Path):
    nowhere = tmp_path / "nowhere"
    missing: list[dict[str, Any]] = [
        {"model": nowhere},
        {"model": tiny_model_folder, "adapter": nowhere},
        {"model": tiny_model_folder, "messages": nowhere},
    ]
    for paths in missing:
        with pytest.raises(InputError, match="nowhere"):
            plan(ChatConfig(**paths))


def test_a_gpu_that_is_not_there_is_told_in_one_sentence(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device cpu"):
        chat(ChatConfig(model=trained / "model", prompt=("你好",), device="cuda"))


def test_a_model_that_would_run_code_is_never_loaded(unsafe_model: tuple[Path, str]):
    from sft.generate import ChatModel

    folder, named = unsafe_model
    with pytest.raises(InputError, match=named):
        plan(ChatConfig(model=folder))
    (folder / "chat_template.jinja").write_text(ALPACA_ZH, encoding="utf-8")
    with pytest.raises(InputError, match=named):
        ChatModel(folder, device="cpu")


@pytest.fixture
def foreign_adapter(trained: Path, tmp_path: Path) -> Path:
    """The adapter as PEFT alone would have left it: no manifest, no template of ours."""
    folder = tmp_path / "adapter"
    shutil.copytree(trained / "adapter", folder)
    (folder / "manifest.json").unlink()
    return folder


def test_an_adapter_of_another_tool_answers_on_its_base(foreign_adapter: Path, base_with_report: Path, tmp_path: Path):
    config = ChatConfig(
        model=base_with_report,
        adapter=foreign_adapter,
        prompt=("你好",),
        out=tmp_path / "out",
        temperature=0,
        repetition_penalty=1.0,
        device="cpu",
    )
    assert answers(config)["messages"][-1]["content"] == "很好。"


def test_an_adapter_that_does_not_fit_its_base_is_refused_in_one_sentence(
    foreign_adapter: Path, base_with_report: Path
):
    config = ChatConfig(model=base_with_report, adapter=foreign_adapter, prompt=("你好",), device="cpu")
    weights = foreign_adapter / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor[:, :-1].contiguous() for name, tensor in tensors.items()}, weights)
    with pytest.raises(ArtifactError, match="does not fit"):
        chat(config)
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match="does not fit"):
        chat(config)
