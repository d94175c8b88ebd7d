"""The command line: help loads no stage, exit codes, configuration files, one sentence for each mistake."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from hanlm import cli
from hanlm.errors import HanLMError, Interrupted


@dataclass(frozen=True, kw_only=True, slots=True)
class _FakeConfig:
    """A stage's configuration."""

    out: Path
    """Where to."""
    input: list[Path]
    """Where from."""
    num_tokens: int | Literal["auto"] | None = 3
    """How many."""
    fraction: float = 0.5
    """What share."""


_ran: list[_FakeConfig] = []
_error: list[BaseException] = []


def fake(config: _FakeConfig) -> Path:
    """Remember the configuration, or raise what the test asked for."""
    if _error:
        raise _error[0]
    _ran.append(config)
    return config.out


def plan(config: _FakeConfig) -> list[str]:
    """Say what would happen."""
    return [f"would write {config.out}"]


@pytest.fixture(autouse=True)
def _fake_stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "fake_stage_for_cli", module)
    monkeypatch.setattr(fake, "__module__", "fake_stage_for_cli")
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command(("fake",), "fake_stage_for_cli:fake", "A fake."),))
    _ran.clear()
    _error.clear()
    yield
    _error.clear()


def code(*argv: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(argv))
    return int(exit_.value.code or 0)


def test_flags_fill_the_dataclass_and_the_last_line_names_the_artifact(capsys: pytest.CaptureFixture[str]):
    assert code("fake", "--input", "a", "b", "--out", "o", "--num-tokens", "5") == 0
    assert _ran == [_FakeConfig(out=Path("o"), input=[Path("a"), Path("b")], num_tokens=5)]
    assert capsys.readouterr().out.strip() == "o"


def test_flags_override_the_configuration_file(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("input: [a]\nnum-tokens: 7\nout: from-file\n", encoding="utf-8")
    assert code("fake", "--config", str(file), "--out", "o") == 0
    assert _ran[0] == _FakeConfig(out=Path("o"), input=[Path("a")], num_tokens=7)


def test_a_key_of_the_file_may_have_the_name_of_a_command(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("corpus: [a]\ntokenizer: b\nout: c\n", encoding="utf-8")
    argv = [sys.executable, "-m", "hanlm", "corpus", "tokenize", "--config", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "expected a corpus artifact at a, but there is nothing" in done.stderr


def test_an_unknown_key_in_the_file_is_an_error_that_suggests_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "c.yaml"
    file.write_text("num_tokkens: 7\n", encoding="utf-8")
    assert code("fake", "--config", str(file), "--out", "o", "--input", "a") == 2
    assert "did you mean 'num_tokens'" in capsys.readouterr().err
    assert not _ran


def test_an_unknown_flag_and_an_unknown_command_are_usage_errors(capsys: pytest.CaptureFixture[str]):
    assert code("fake", "--out", "o", "--input", "a", "--num-token", "3") == 2
    assert "--num-tokens" in capsys.readouterr().err
    assert code("fakke") == 2


def test_dry_run_prints_the_resolved_configuration_and_runs_nothing(capsys: pytest.CaptureFixture[str]):
    assert code("fake", "--out", "o", "--input", "a", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "num_tokens: 3" in printed
    assert "# would write o" in printed
    assert not _ran


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (HanLMError("expected a, got b; do c."), 2, "expected a, got b; do c."),
        (Interrupted("saved; run again."), 75, "saved; run again."),
        (KeyboardInterrupt(), 75, "run the same command again"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "no space left"),
        (RuntimeError("writing failed: No space left on device"), 2, "no space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "/x: Read-only file system"),
    ],
)
def test_each_way_to_fail_has_its_code_and_one_sentence(
    error: BaseException, expected: int, words: str, capsys: pytest.CaptureFixture[str]
):
    _error.append(error)
    assert code("fake", "--out", "o", "--input", "a") == expected
    printed = capsys.readouterr().err
    assert words in printed
    assert "Traceback" not in printed


def test_a_bug_is_not_dressed_up_as_bad_input():
    _error.append(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake", "--out", "o", "--input", "a"])


def test_help_lists_every_command_without_loading_a_stage_or_torch():
    script = (
        "import sys\nfrom hanlm.cli import COMMANDS, main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'megatron', 'tokenizer', 'corpora', 'pretrain', 'sft', 'eval'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("run", "extend-vocab", "pretrain", "sft", "ppl"):
        assert name in done.stdout


def test_the_help_of_a_command_loads_no_torch():
    script = (
        "import sys\nfrom hanlm.cli import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    try: main([*command.words, '--help'])\n    except SystemExit as e: assert not e.code, command\n"
        "heavy = {'torch', 'transformers', 'megatron', 'datasets', 'trl', 'plotly', 'numba'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--inptu", "a", "--out", "o"], "unknown option --inptu; did you mean --input?"),
        (["--zzz=1", "--num-tokens", "x"], "unknown option --zzz; --help lists what there is."),
        (["--input", "a"], "missing: --out; --help lists what is needed."),
        (["--input", "a", "--out"], "--out needs a value after it; --help says which."),
        (
            ["--input", "a", "--out", "o", "--num-tokens", "18k"],
            "expected --num-tokens as a whole number such as 18000 or auto; got '18k'.",
        ),
        (
            ["--input", "a", "--out", "o", "--fraction", "half"],
            "expected --fraction as a number such as 0.5; got 'half'.",
        ),
    ],
)
def test_the_mistake_that_was_made_is_the_one_that_is_named(
    capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str
):
    assert code("fake", *argv) == 2
    assert capsys.readouterr().err == f"hanlm: {sentence}\n"
    assert not _ran


def test_a_number_that_is_none_in_the_configuration_file_is_told_with_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    file = tmp_path / "c.yaml"
    file.write_text("num_tokens: 18k\n")
    assert code("fake", "--input", "a", "--out", "o", "--config", str(file)) == 2
    expected = f"expected --num-tokens as a whole number such as 18000 or auto; got '18k' in {file}."
    assert capsys.readouterr().err == f"hanlm: {expected}\n"


def test_help_tells_of_the_configuration_file(capsys: pytest.CaptureFixture[str]):
    assert code("fake", "--help") == 0
    assert "--config" in capsys.readouterr().out
