"""The base: a SentencePiece-BPE vocabulary, its added tokens and, for a model folder, its configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hanlm.artifact import verify_once
from hanlm.errors import InputError
from hanlm.model_folder import check_model_folder, read_config
from tokenizer.proto import parse_proto

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of SentencePiece pieces."""

_BPE = 2
_MODEL_TYPES = {1: "Unigram", 3: "word", 4: "character"}
_LOWEST_RANK_SCORE: Final = -1e8
"""Scores below are no ranks: LLaMA gives -1e9 to runs of spaces, where float32 cannot tell neighbours apart."""

_LATER = "byte-level BPE and other families cannot be extended yet"


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token outside the learned vocabulary: it is cut out of the text before anything else."""

    id: int
    content: str
    options: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """``special``, ``lstrip``, ``rstrip``, ``normalized``, ``single_word``."""


@dataclass(frozen=True, slots=True)
class Base:
    """What is to be extended."""

    path: Path
    proto: Any
    """SentencePiece's ``ModelProto``."""
    added_tokens: list[AddedToken]
    """In order of id."""
    special_tokens: dict[str, Any]
    """Role (``bos_token`` …) -> token, as in ``special_tokens_map.json``."""
    tokenizer_config: dict[str, Any]
    post_processor: dict[str, Any] | None
    config: dict[str, Any] | None
    """The model's ``config.json``; None where there is only a tokenizer."""

    @property
    def num_tokens(self) -> int:
        """The ids in use, added tokens among them."""
        return max([len(self.proto.pieces), *(token.id + 1 for token in self.added_tokens)])

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """(piece, score) of every mergeable piece, best rank first."""
        pieces = [(p.piece, p.score) for p in self.proto.pieces if p.type == NORMAL]
        return sorted(pieces, key=lambda pair: -pair[1])

    @property
    def next_score(self) -> float:
        """The score that continues the base's ranks."""
        return min((score for _, score in self.ranked if score > _LOWEST_RANK_SCORE), default=0.0) - 1


def read_base(path: Path, *, trust_remote_code: bool = False) -> Base:
    """Read a model folder, a tokenizer folder, or a bare ``tokenizer.model``.

    Raises:
        InputError: If there is none, if it is of a family that cannot be extended, or if its parts disagree.
        ArtifactError: If it is an artifact and damaged.
    """
    if path.is_file():
        if path.suffix != ".model":
            raise InputError(f"expected a tokenizer.model or a model folder as base, got {path}; {_LATER}.")
        return _base(path, read_proto(path), None, None)
    if not path.is_dir():
        raise InputError(f"there is no base at {path}; pass a model folder or a tokenizer.model.")
    verify_once(path)
    config = None
    if (path / "config.json").is_file() or not (path / "tokenizer.model").is_file():
        check_model_folder(path, trust_remote_code=trust_remote_code)
        config = read_config(path)
    if not (path / "tokenizer.model").is_file():
        raise InputError(f"{path} has no tokenizer.model; expected a SentencePiece BPE base (LLaMA-like): {_LATER}.")
    return _base(path, read_proto(path / "tokenizer.model"), path, config)


def read_proto(path: Path) -> Any:
    """Read a ``tokenizer.model`` and refuse what continued BPE cannot extend."""
    proto = parse_proto(path.read_bytes())
    if proto is None:
        raise InputError(f"{path} is no SentencePiece model (tiktoken and other files are not); {_LATER}.")
    if proto.trainer_spec.model_type != _BPE:
        kind = _MODEL_TYPES.get(proto.trainer_spec.model_type, "other")
        raise InputError(f"{path} is a SentencePiece {kind} model; expected BPE: pass a LLaMA-like base.")
    if not proto.trainer_spec.byte_fallback:
        raise InputError(f"{path} has no byte fallback, so it loses characters; expected a base with all bytes.")
    normalizer = proto.normalizer_spec
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces or not normalizer.escape_whitespaces:
        raise InputError(
            f"{path} rewrites text before it tokenizes ({normalizer.name or 'white space removed'}), which would "
            "change Chinese punctuation; expected the identity normalizer, as LLaMA and Mistral have it."
        )
    if proto.trainer_spec.treat_whitespace_as_suffix or any(p.type == UNUSED for p in proto.pieces):
        raise InputError(
            f"{path} uses suffix spaces or unused pieces, which cannot be extended; pass a LLaMA-like base."
        )
    return proto


def _base(path: Path, proto: Any, folder: Path | None, config: dict[str, Any] | None) -> Base:
    fast = _read_json(folder, "tokenizer.json")
    tokenizer_config = _read_json(folder, "tokenizer_config.json")
    special = _read_json(folder, "special_tokens_map.json")
    special = special or {k: v for k, v in tokenizer_config.items() if k.endswith("_token") and v is not None}
    base = Base(
        path=path,
        proto=proto,
        added_tokens=_added_tokens(proto, _read_json(folder, "added_tokens.json"), fast, tokenizer_config),
        special_tokens=special or _special_of_proto(proto),
        tokenizer_config=tokenizer_config,
        post_processor=fast.get("post_processor"),
        config=config,
    )
    _check_same_ids(path, proto, fast)
    if config is not None:
        _check_size(base, config)
    return base


def _added_tokens(
    proto: Any, listed: dict[str, Any], fast: dict[str, Any], tokenizer_config: dict[str, Any]
) -> list[AddedToken]:
    """Collect added tokens from wherever a base keeps them; control pieces of the model are added tokens too."""
    found = {
        i: AddedToken(i, p.piece, {"special": True}) for i, p in enumerate(proto.pieces) if p.type in (UNKNOWN, CONTROL)
    }
    found |= {i: AddedToken(i, content, {"special": True}) for content, i in listed.items()}
    decoder = tokenizer_config.get("added_tokens_decoder", {})
    entries = [{"id": int(i), **entry} for i, entry in decoder.items()] + fast.get("added_tokens", [])
    for entry in entries:
        options = {k: v for k, v in entry.items() if isinstance(v, bool)}
        found[entry["id"]] = AddedToken(entry["id"], entry["content"], options)
    return [found[i] for i in sorted(found)]


def _special_of_proto(proto: Any) -> dict[str, Any]:
    spec, names = proto.trainer_spec, {p.piece for p in proto.pieces if p.type in (UNKNOWN, CONTROL)}
    roles = {"unk": spec.unk_piece, "bos": spec.bos_piece, "eos": spec.eos_piece, "pad": spec.pad_piece}
    return {f"{role}_token": name for role, name in roles.items() if name in names}


def _check_same_ids(path: Path, proto: Any, fast: dict[str, Any]) -> None:
    vocabulary: dict[str, int] = fast.get("model", {}).get("vocab", {})
    if vocabulary and any(vocabulary.get(p.piece, i) != i for i, p in enumerate(proto.pieces)):
        raise InputError(
            f"{path}: tokenizer.json and tokenizer.model give different ids to the same pieces; "
            "expected two forms of one tokenizer: restore both from the base's source."
        )


def _check_size(base: Base, config: dict[str, Any]) -> None:
    rows = config.get("vocab_size")
    if not isinstance(rows, int):
        raise InputError(f"{base.path}/config.json names no vocab_size; expected a causal language model.")
    if rows < base.num_tokens:
        raise InputError(
            f"{base.path}: the tokenizer has {base.num_tokens} tokens but the model only {rows} rows; expected a row "
            "for every token: call resize_token_embeddings on the model, or take the tokenizer it was trained with."
        )


def _read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return the object in a file of the base; empty where there is no such file."""
    if folder is None:
        return {}
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore it from its source.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} should hold a JSON object; restore it from its source.")
    return value  # pyright: ignore[reportUnknownVariableType]
