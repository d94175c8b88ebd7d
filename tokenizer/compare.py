"""Other tokenizers to compare with: read whatever their format, told apart by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlm.config import NamedPath, split_named_path
from hanlm.errors import ConfigError, HanLMError, InputError
from tokenizer.encode import Fast, SentencePiece
from tokenizer.families import SPM_NAMES, read_fast, tokenizer_file
from tokenizer.forms import Encoder, Forms
from tokenizer.proto import parse_proto
from tokenizer.rank_file import RANK_FILE, fast_of_ranks, read_ranks
from tokenizer.spelling import fast_spelling, piece_bytes

BASE, EXTENDED = "base", "extended"
"""The names of the two tokenizers that every report has."""

_GENERAL: Final = (*SPM_NAMES, "tokenizer.json", "merges.txt", RANK_FILE)
"""Files whose names say nothing of whose they are: their folder's does."""
_SUFFIXES: Final = (".json", ".model", ".tiktoken", ".tokenizer")
_EXPECTED: Final = "expected a tokenizer.model, a tokenizer.json, a tiktoken rank file, or a folder that holds one"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedTokenizer:
    """A tokenizer as the report needs it, of any family."""

    name: str
    path: Path
    """The file it was read from."""
    encoder: Encoder
    spelling: Mapping[int, bytes]
    """Id -> what the token spells."""
    unknown_id: int | None = None
    """What it writes for text that it cannot spell."""

    @property
    def num_tokens(self) -> int:
        """Return how many tokens there are."""
        return len(self.spelling)


def read_compared(entries: Sequence[NamedPath], workers: int = 1) -> list[NamedTokenizer]:
    """Read the tokenizers of ``--compare``.

    Args:
        entries: ``PATH`` or ``NAME=PATH`` each.
        workers: Threads of SentencePiece.

    Raises:
        InputError: If one is missing, or no tokenizer that can be read.
        ConfigError: If two cannot be told apart.
    """
    given = [split_named_path(entry) for entry in entries]
    files = [_tokenizer_file(path) for _, path in given]
    names = _names([name for name, _ in given], files)
    return [_read(name, file, workers) for name, file in zip(names, files, strict=True)]


def of_forms(name: str, path: Path, forms: Forms) -> NamedTokenizer:
    """Return a base or extended tokenizer as a named one."""
    spelling = {token: forms.spelled(token) for token in range(forms.num_tokens)}
    return NamedTokenizer(name=name, path=path, encoder=forms, spelling=spelling)


def _of_proto(name: str, path: Path, proto: Any, workers: int) -> NamedTokenizer:
    unknown = proto.trainer_spec.unk_id
    return NamedTokenizer(
        name=name,
        path=path,
        encoder=SentencePiece(proto, workers),
        spelling={i: piece_bytes(piece) for i, piece in enumerate(proto.pieces)},
        unknown_id=unknown if unknown >= 0 else None,
    )


def _tokenizer_file(path: Path) -> Path:
    if path.is_dir():
        return tokenizer_file(path)
    if not path.is_file():
        raise InputError(f"--compare {path}: there is nothing; {_EXPECTED}: check the path.")
    return path


def _read(name: str, file: Path, workers: int) -> NamedTokenizer:
    try:
        if (contents := read_fast(file)) is not None:
            return _of_fast(name, file, contents)
        content = file.read_bytes()
        if (proto := parse_proto(content)) is not None:
            return _of_proto(name, file, proto, workers)
        if (ranks := read_ranks(content)) is not None:
            return _of_fast(name, file, fast_of_ranks(file, ranks)[0])
    except HanLMError:
        raise
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise InputError(f"--compare {file} cannot be read ({error}); {_EXPECTED}.") from error
    raise InputError(f"--compare {file} is no tokenizer; {_EXPECTED}.")


def _of_fast(name: str, file: Path, contents: dict[str, Any]) -> NamedTokenizer:
    fast = Fast(contents)
    vocabulary = fast.vocabulary()
    model: dict[str, Any] = contents["model"]
    unknown = vocabulary.get(model.get("unk_token") or "", model.get("unk_id"))
    return NamedTokenizer(
        name=name, path=file, encoder=fast, spelling=fast_spelling(contents, vocabulary), unknown_id=unknown
    )


def _names(given: Sequence[str | None], files: Sequence[Path]) -> list[str]:
    """Return a name for each file: the one given, else as little of its path as tells it from all others."""
    for file in files:
        if sum(file.resolve() == other.resolve() for other in files) > 1:
            raise ConfigError(f"--compare names {file} twice; name every tokenizer once.")
    taken = [BASE, EXTENDED, *(name for name in given if name)]
    if twice := next((name for name in taken if taken.count(name) > 1), None):
        raise ConfigError(f"--compare: two tokenizers would be called {twice!r}; give each a name of its own.")
    return [name or _name(file, files, taken) for name, file in zip(given, files, strict=True)]


def _name(file: Path, files: Sequence[Path], taken: Sequence[str]) -> str:
    mine, others = _parts(file), [_parts(other) for other in files if other is not file]
    for length in range(1, len(mine) + 1):
        name = "/".join(mine[-length:])
        if name not in taken and all(other[-length:] != mine[-length:] for other in others):
            return name
    return str(file)


def _parts(file: Path) -> list[str]:
    """Return the parts of a path that say something."""
    *folders, last = file.resolve().parts[1:]
    if file.name in _GENERAL and folders:
        return folders
    for suffix in _SUFFIXES:
        last = last.removesuffix(suffix) or last
    return [*folders, last]
