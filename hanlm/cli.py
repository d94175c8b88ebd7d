"""The command line: names, lazily loaded stages, configuration files, exit codes.

``--help`` imports no stage: commands are declared as text, and only the one that was typed is loaded.
"""

import errno
import inspect
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NoReturn, get_args, get_type_hints

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, Parameter
from cyclopts.config import Dict

from hanlm import __version__
from hanlm.config import read_config_file
from hanlm.errors import ConfigError, HanLMError, Interrupted
from hanlm.last_words import are_collected, end
from hanlm.log import is_main_process


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, where its function lives (``module:function``), one line of help."""

    words: tuple[str, ...]
    target: str
    help: str


COMMANDS = (
    Command(("run",), "hanlm.recipe:run", "Run a recipe: every stage in order, skipping what is finished."),
    Command(("from-gguf",), "hanlm.from_gguf:from_gguf", "Turn a GGUF file into a model folder."),
    Command(("corpus", "collect"), "corpora.collect:collect", "Collect text that installed packages ship."),
    Command(("corpus", "sets"), "corpora.sets:sets", "List well-known sets of text: licence, size, how to fetch."),
    Command(("corpus", "build"), "corpora.build:build", "Clean, filter, deduplicate and split raw text."),
    Command(("corpus", "tokenize"), "corpora.tokenize:tokenize", "Turn a corpus into Megatron token files."),
    Command(("extend-vocab",), "tokenizer.extend:extend", "Add Chinese tokens to a tokenizer and its model."),
    Command(("expand-blocks",), "pretrain.trainable.expand:expand_blocks", "Add layers that change nothing yet."),
    Command(("pretrain",), "pretrain.train:pretrain", "Continue pretraining on Megatron-Core."),
    Command(("doctor",), "pretrain.planning.doctor:doctor", "Check a pretraining run before GPUs are spent."),
    Command(("plan",), "pretrain.planning.plan:plan_layouts", "Propose layouts for a model on so many GPUs."),
    Command(("tasks",), "sft.tasks:tasks", "Turn labelled text into instructions and choices by templates."),
    Command(("sft",), "sft.train:sft", "Fine-tune on instructions with LoRA, and merge."),
    Command(("chat",), "sft.chat:chat", "Talk to a chat model."),
    Command(("ppl",), "eval.ppl:ppl", "Compare models in bits per byte on identical text."),
    Command(("bench",), "eval.bench:bench", "Score multiple-choice tasks by likelihood."),
    Command(("report",), "eval.report:report", "Draw the report of a finished run."),
)

_FLAG = re.compile(r"--([a-z][\w-]*)(?:[.=].*)?", re.DOTALL)
_SLEEPING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
_NUMBERS: Final = {int: "as a whole number such as 18000", float: "as a number such as 0.5"}
_WRONG_PLACE = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_WRONG_PATH = (errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``hanlm ARGV`` and exit: 0 done, 2 wrong usage or bad input, 75 stopped by a signal, 1 a bug."""
    # Before torch loads OpenMP: waiting threads that spin made a run beside other work five times slower.
    for name, value in _SLEEPING_THREADS.items():
        os.environ.setdefault(name, value)
    code = _run_guarded(list(sys.argv[1:] if argv is None else argv))
    signal.signal(signal.SIGTERM, _ignore)  # a torchrun that ends its processes: this one does already
    sys.exit(code)


def extend_vocab(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the ``extend-vocab`` command."""
    main(["extend-vocab", *(sys.argv[1:] if argv is None else argv)])


def _run_guarded(argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _dispatch(argv)
    except (HanLMError, CycloptsError) as error:
        return end(f"hanlm: {_sentence(error)}", getattr(error, "exit_code", 2))
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return end(
            "hanlm: interrupted; finished artifacts are untouched: run the same command again to go on.",
            Interrupted.exit_code,
        )
    except Exception as error:
        if isinstance(error, _WRONG_PLACE) or (isinstance(error, OSError) and error.errno in _WRONG_PATH):
            return end(f"hanlm: {error.filename}: {error.strerror}; check the path and its permissions.", 2)
        if is_out_of_space(error):
            return end(
                f"hanlm: no space left while writing ({error}); nothing was published and earlier results are "
                "untouched: free some space and run the same command again.",
                2,
            )
        if not are_collected():
            raise
        return end(traceback.format_exc(), 1)
    return 0


def is_out_of_space(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a full disk; some libraries only say so in words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        if any(os.strerror(code) in str(error) for code in _NO_SPACE):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Do nothing; unlike SIG_IGN it is not handed on to processes that are started."""


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, HanLMError) else f"{text} (--help lists what there is)"


def _dispatch(argv: list[str]) -> None:
    chosen = next((c for c in COMMANDS if tuple(argv[: len(c.words)]) == c.words), None)
    if chosen is None:
        _overview()(argv, exit_on_error=False, print_error=False)
        return
    # An app of its own: in one app with its siblings, the key `corpus` of a configuration file would be taken for
    # the command `corpus`.
    app = _app(" ".join(("hanlm", *chosen.words)), chosen.help)
    app.default(_bind(chosen))
    schema = config_type(chosen)
    argv, config = _take_config(argv[len(chosen.words) :], schema)
    _refuse_unknown_flags(argv, schema)
    if config is not None:
        app.config = [config]
    _call(app, argv)


def _call(app: App, argv: Sequence[str]) -> Any:
    try:
        return app(argv, exit_on_error=False, print_error=False)
    except MissingArgumentError as error:
        raise ConfigError(_missing(error, argv)) from None
    except CoercionError as error:
        if (wanted := _wanted(error.target_type)) and error.token is not None and error.argument is not None:
            where = "" if error.token.source == "cli" else f" in {error.token.source}"
            raise ConfigError(f"expected {error.argument.name} {wanted}; got {error.token.value!r}{where}.") from None
        raise


def _refuse_unknown_flags(argv: Sequence[str], schema: type) -> None:
    """Name a misspelt flag before anything else: what is missing because of it would only mislead."""
    known = {f.name.replace("_", "-") for f in fields(schema)} | {"config", "dry-run", "help", "version"}
    for word in argv:
        flag = _FLAG.fullmatch(word)
        if flag and flag[1].replace("_", "-") not in known:
            near = get_close_matches(flag[1], known, n=1)
            hint = f"did you mean --{near[0]}?" if near else "--help lists what there is."
            raise ConfigError(f"unknown option --{flag[1]}; {hint}")


def _missing(error: MissingArgumentError, argv: Sequence[str]) -> str:
    argument = error.argument
    assert argument is not None
    name = argument.name if argument.name.startswith("-") else argument.name.upper()
    if any(word.partition("=")[0] in argument.names for word in argv):
        return f"{name} needs a value after it; --help says which."
    positional = argument.field_info.is_positional
    return f"missing: {name.removeprefix('--').upper() if positional else name}; --help lists what is needed."


def _wanted(hint: Any) -> str:
    """Return in words what an option that takes a number may be; nothing for an option of another kind."""
    kinds = get_args(hint) or (hint,)
    number = next((words for kind, words in _NUMBERS.items() if kind in kinds), "")
    return " or ".join([number, *(str(word) for kind in kinds for word in get_args(kind))]) if number else ""


def _app(name: str, text: str) -> App:
    return App(
        name=name,
        help=text,
        version=__version__,
        default_parameter=Parameter(consume_multiple=True, negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )


def _overview() -> App:
    """Return the app that lists the commands and knows none of them."""
    app = _app("hanlm", "Turn an English-centred language model into a Chinese one.")
    corpus = App(name="corpus", help="Build corpora and token files.")
    app.command(corpus)
    for command in COMMANDS:
        parent = corpus if command.words[0] == "corpus" else app
        parent.command(_placeholder, name=command.words[-1], help=command.help)
    return app


def _placeholder() -> None:
    """Stand in for a command that was not typed, so that help can list it without loading it."""


def _load(command: Command) -> Callable[[Any], Path | None]:
    module, _, function = command.target.partition(":")
    return getattr(import_module(module), function)


def config_type(command: Command) -> type:
    """Return the configuration dataclass of a command, which loads the command's module."""
    return get_type_hints(_load(command))["config"]


def read_values(command: Command, values: Mapping[str, Any], where: str) -> Any:
    """Return the configuration that options make, every value checked as the command checks it.

    Raises:
        ConfigError: If the command would refuse them; ``where`` names their origin.
    """
    app = _app(" ".join(("hanlm", *command.words)), command.help)
    app.default(_with_options(lambda config: config, config_type(command)))
    app.config = [Dict(dict(values), source=where, use_commands_as_keys=False)]
    try:
        return _call(app, [])
    except (CycloptsError, HanLMError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(text if where in text else f"{where}: {text}") from None


def _with_options(function: Callable[..., Any], schema: type, **more: inspect.Parameter) -> Callable[..., Any]:
    """Give a function of a configuration the signature whose parameters are the configuration's fields."""
    needs_nothing = all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(schema))
    config = inspect.Parameter(
        "config",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[schema, Parameter(name="*")],
        default=schema() if needs_nothing else inspect.Parameter.empty,
    )
    parameters = [config, *more.values()]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _bind(command: Command) -> Callable[..., None]:
    stage = _load(command)
    plan: Callable[[Any], list[str]] = sys.modules[stage.__module__].plan

    schema = config_type(command)

    def run(config: Any = None, *, dry_run: bool = False, config_file: Path | None = None) -> None:
        assert config_file is None  # taken out of the arguments before; declared for --help alone
        config = schema() if config is None else config
        if dry_run:
            _print_plan(config, plan(config))
            return
        if (out := stage(config)) is not None and is_main_process():
            print(out)

    dry = Annotated[bool, Parameter(help="Print the resolved configuration and what would happen, then stop.")]
    file = Annotated[
        Path | None, Parameter(name="--config", help="YAML with any of these options; other flags override it.")
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return _with_options(
        run,
        schema,
        dry_run=inspect.Parameter("dry_run", keyword, annotation=dry, default=False),
        config_file=inspect.Parameter("config_file", keyword, annotation=file, default=None),
    )


def _print_plan(config: object, lines: Sequence[str]) -> None:
    import yaml

    from hanlm.config import to_plain

    print(yaml.safe_dump(to_plain(config), allow_unicode=True, sort_keys=False).rstrip())
    for line in (part for text in lines for part in text.splitlines()):
        print(f"# {line}")


def _take_config(argv: list[str], schema: type) -> tuple[list[str], Dict | None]:
    """Cut ``--config FILE`` out of the arguments; what the file says is overridden by the other flags."""
    for i, word in enumerate(argv):
        if word == "--config" or word.startswith("--config="):
            inline = word.partition("=")[2]
            if not inline and i + 1 >= len(argv):
                raise ConfigError("--config needs a YAML file; add its path.")
            path = Path(inline or argv[i + 1])
            rest = argv[:i] + argv[i + (1 if inline else 2) :]
            return rest, Dict(read_config_file(path, schema), source=str(path), use_commands_as_keys=False)
    return argv, None
