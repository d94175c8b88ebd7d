"""Tokens outside the learned vocabulary: collected from every file that may name them, which must agree."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from tokenizer.json_file import read_json
from tokenizer.pieces import SPACE, has_strong, segment_pattern
from tokenizer.proto import SPECIAL_TYPES, USER_DEFINED

_REMEDY = "expected one id for each token in all files: restore the base's tokenizer files from one source"


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token outside the learned vocabulary: it is cut out of the text before anything else."""

    id: int
    content: str
    options: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """``special``, ``lstrip``, ``rstrip``, ``normalized``, ``single_word``."""


type _Named = tuple[str, int, str, dict[str, bool]]
"""File, id, content, options."""

_FLAGS: Final = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_NONE: Final[Mapping[int, AddedToken]] = {}


def token_fields(
    path: Path,
    folder: Path | None,
    vocabulary: Mapping[str, int],
    fast: Mapping[str, Any],
    own: Mapping[int, AddedToken] = _NONE,
) -> dict[str, Any]:
    """Return the fields of a ``Base`` that name tokens outside its learned vocabulary, from wherever it keeps them.

    Args:
        path: The base.
        folder: What the vocabulary stands in; None where it is a file alone.
        vocabulary: The learned vocabulary, token -> id.
        fast: ``tokenizer.json``, which is right where the files differ in a token's options.
        own: Added tokens that the vocabulary itself knows as such.

    Raises:
        InputError: If the files disagree.
    """
    tokenizer_config = read_json(folder, "tokenizer_config.json")
    named = _named(path, read_json(folder, "added_tokens.json"), fast, tokenizer_config)
    added = _added_tokens(path, vocabulary, own, named)
    if _is_spaced_at_the_start_alone(fast):
        added = [replace(token, options={**token.options, **_FOUND_AFTER}) for token in added]
    known = frozenset([*vocabulary, *(token.content for token in added)])
    return {
        "added_tokens": added,
        "special_tokens": _special_tokens(path, read_json(folder, "special_tokens_map.json"), tokenizer_config, known),
        "tokenizer_config": tokenizer_config,
        "post_processor": fast.get("post_processor"),
        "cut": _cut_pattern(
            [*(token.content for token in added), *(token.content.replace(SPACE, " ") for token in own.values())]
        ),
    }


def entries_of(tokens: Iterable[AddedToken]) -> list[dict[str, Any]]:
    """Return added tokens as ``tokenizer.json`` lists them."""
    return [{"id": token.id, "content": token.content, **_FLAGS, **token.options} for token in tokens]


def _added_tokens(
    path: Path, vocabulary: Mapping[str, int], own: Mapping[int, AddedToken], named: Iterable[_Named]
) -> list[AddedToken]:
    """Return added tokens in order of id.

    Raises:
        InputError: If one id belongs to two tokens or one token has two ids. (Libraries then silently take one of
            them, or a new id that the model has no row for.)
    """
    found, ids = dict(own), dict(vocabulary)
    contents = {i: content for content, i in ids.items()}
    for name, i, content, options in named:
        if contents.setdefault(i, content) != content:
            raise InputError(f"{path}: id {i} is {content!r} in {name}, but also {contents[i]!r}; {_REMEDY}.")
        if ids.setdefault(content, i) != i:
            raise InputError(f"{path}: {content!r} has the id {i} in {name}, but also {ids[content]}; {_REMEDY}.")
        found[i] = AddedToken(i, content, {**options, **_FOUND_AFTER} if own.get(i) == _symbol(i, content) else options)
    return [found[i] for i in sorted(found)]


def own_tokens(proto: Any) -> dict[int, AddedToken]:
    """Return those that a SentencePiece model itself brings: special ones, and its user's symbols.

    It looks for a symbol in the text in which it has written spaces as U+2581, so it never finds one with a space.
    """
    own: dict[int, AddedToken] = {}
    for i, p in enumerate(proto.pieces):
        if p.type in SPECIAL_TYPES:
            own[i] = AddedToken(i, p.piece, {"special": True})
        elif p.type == USER_DEFINED and " " not in p.piece:
            own[i] = _symbol(i, p.piece)
    return own


_FOUND_AFTER: Final = {"normalized": True}
"""Found after a space was put before the text: none is then put behind the token. Files that transformers made say
otherwise of a model's symbols."""


def _symbol(i: int, content: str) -> AddedToken:
    return AddedToken(i, content, {"special": False, **_FOUND_AFTER})


def _is_spaced_at_the_start_alone(fast: Mapping[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` puts no space behind added tokens, as Mistral's newer ones."""
    step = fast.get("pre_tokenizer") or {}
    return any(part.get("prepend_scheme") == "first" for part in [step, *step.get("pretokenizers", [])])


def _named(
    path: Path, listed: Mapping[str, Any], fast: Mapping[str, Any], tokenizer_config: Mapping[str, Any]
) -> Iterator[_Named]:
    """Yield what each file says, what decides about options last."""
    decoder = tokenizer_config.get("added_tokens_decoder") or {}
    entries: list[tuple[str, Any, Any, Any]] = [
        *(("added_tokens.json", i, content, {"special": True}) for content, i in listed.items()),
        *(("tokenizer_config.json", i, _get(entry, "content"), entry) for i, entry in decoder.items()),
        *(("tokenizer.json", _get(e, "id"), _get(e, "content"), e) for e in fast.get("added_tokens") or []),
    ]
    for name, i, content, options in entries:
        if not str(i).isdecimal() or not isinstance(content, str):
            raise InputError(
                f"{path}/{name} gives an added token the id {i!r} and the text {content!r}; expected a number and a "
                "text: restore the file from its source."
            )
        yield name, int(i), content, {k: v for k, v in options.items() if isinstance(v, bool)}


def _special_tokens(
    path: Path, special: Mapping[str, Any], tokenizer_config: Mapping[str, Any], known: frozenset[str]
) -> dict[str, Any]:
    """Return role (``bos_token`` …) -> token; ``special`` is ``special_tokens_map.json``, or empty.

    Raises:
        InputError: If the two name different tokens for a role, or one that has no id. (transformers would give it a
            new one, for which the model has no row.)
    """
    configured = {k: v for k, v in tokenizer_config.items() if k.endswith("_token") and content_of(v)}
    for role, token in special.items():
        if content_of(token) and content_of(configured.get(role, token)) != content_of(token):
            raise InputError(
                f"{path}: the {role} is {content_of(token)!r} in special_tokens_map.json but "
                f"{content_of(configured[role])!r} in tokenizer_config.json; expected the same: mend the wrong one."
            )
    roles = {**configured, **special}
    for role, token in roles.items():
        if content_of(token) and content_of(token) not in known:
            raise InputError(
                f"{path}: the {role} is {content_of(token)!r}, which has no id in the tokenizer; expected one of its "
                "tokens: mend special_tokens_map.json and tokenizer_config.json, or add the token and resize the model."
            )
    return roles


def _cut_pattern(contents: Iterable[str]) -> re.Pattern[str] | None:
    """Match the added tokens that may stand within a run of Chinese; None where there are none, as in most bases."""
    run = segment_pattern("han+punct+space")
    within = [text for text in contents if has_strong(text) or run.fullmatch(f"中{text}")]
    return re.compile("|".join(map(re.escape, sorted(within, key=len, reverse=True)))) if within else None


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def content_of(token: Any) -> str:
    """Return a special token's text, whether it is stored as text or as a record of its flags; lists have none."""
    value = _get(token, "content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else ""
