"""The same vocabulary as an explicit ``tokenizer.json``, which agrees with SentencePiece on every text.

transformers' own conversion from ``tokenizer.model`` misorders merges of runs of spaces, and its class
LlamaTokenizer replaces the normalizer; so everything is spelled out, for the class PreTrainedTokenizerFast.
"""

import re
from collections.abc import Callable
from typing import Any

from tokenizer.added_tokens import content_of, entries_of
from tokenizer.base import Base
from tokenizer.newline import NEWLINE_BYTE, newline_as_byte, with_newline_byte
from tokenizer.pieces import NEWLINE, SPACE
from tokenizer.proto import NORMAL


def fast_tokenizer(base: Base, proto: Any) -> dict[str, Any]:
    """Return the contents of ``tokenizer.json`` for an extended SentencePiece model."""
    prepend = [_prepend(base)] if proto.normalizer_spec.add_dummy_prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prepend else []
    as_byte = newline_as_byte(proto)
    spelled: Callable[[str], str] = with_newline_byte if as_byte else str
    # Token by token and before the bytes are gathered; the letters <0x0A> of a text are never one token.
    newline = [_replace(NEWLINE_BYTE, NEWLINE)] if as_byte else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": entries_of(base.added_tokens),
        "normalizer": {"type": "Sequence", "normalizers": [*prepend, _replace(" ", SPACE)]},
        "pre_tokenizer": None,
        "post_processor": base.post_processor or _post_processor(base),
        "decoder": {
            "type": "Sequence",
            "decoders": [_replace(SPACE, " "), *newline, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": content_of(base.special_tokens.get("unk_token")) or proto.trainer_spec.unk_piece,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {spelled(piece.piece): i for i, piece in enumerate(proto.pieces)},
            "merges": [[spelled(left), spelled(right)] for left, right in merges(proto)],
        },
    }


def merges(proto: Any) -> list[list[str]]:
    """Return every split of every piece into two pieces (or a newline), in the order in which SentencePiece merges.

    SentencePiece takes the best score and, among equal scores, the leftmost pair. Pieces of one score (LLaMA's
    runs of spaces) come longest first: a run then grows from its left end, as it does there.
    """
    scores = {p.piece: p.score for p in proto.pieces if p.type == NORMAL}
    parts = scores.keys() | ({NEWLINE} if newline_as_byte(proto) else set[str]())
    ranked = sorted(scores, key=lambda piece: (-scores[piece], -len(piece)))
    return [
        [piece[:cut], piece[cut:]]
        for piece in ranked
        for cut in range(1, len(piece))
        if piece[:cut] in parts and piece[cut:] in parts
    ]


def tokenizer_config(base: Base) -> dict[str, Any]:
    """Return ``tokenizer_config.json``: the base's, for the class that reads ``tokenizer.json`` as it is."""
    dropped = ("added_tokens_decoder", "auto_map", "legacy", "sp_model_kwargs", "use_default_system_prompt", "backend")
    kept = {k: v for k, v in base.tokenizer_config.items() if k not in dropped}
    return kept | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": kept.get("model_max_length", (base.config or {}).get("max_position_embeddings", 10**30)),
        **{role: content_of(token) for role, token in base.special_tokens.items() if role.endswith("_token")},
    }


def _post_processor(base: Base) -> dict[str, Any] | None:
    """Return what puts the base's bos (and eos) around a text; LLaMA's default is bos alone."""
    wanted = [
        (role, base.tokenizer_config.get(f"add_{role}_token", default))
        for role, default in (("bos", True), ("eos", False))
    ]
    names = {role: content_of(base.special_tokens.get(f"{role}_token")) for role, on in wanted if on}
    ids = {token.content: token.id for token in base.added_tokens}
    names = {role: name for role, name in names.items() if name in ids}
    if not names:
        return None

    def template(sequence: str, type_id: int) -> list[dict[str, Any]]:
        middle = [{"Sequence": {"id": sequence, "type_id": type_id}}]
        before = [{"SpecialToken": {"id": names["bos"], "type_id": type_id}}] if "bos" in names else []
        after = [{"SpecialToken": {"id": names["eos"], "type_id": type_id}}] if "eos" in names else []
        return [*before, *middle, *after]

    tokens = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in names.values()}
    single = template("A", 0)
    pair = [*single, *template("B", 1)]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def _prepend(base: Base) -> dict[str, Any]:
    """Return what puts a space before a text, but before no token that is found in the text after that.

    The library normalises such a token like a text and looks for what comes out, which must have no space before it.
    Nor has a text that a special token begins, which transformers cuts off first.
    """
    found_after = [token for token in base.added_tokens if token.options.get("normalized")]
    if not found_after:
        return {"type": "Prepend", "prepend": SPACE}
    ends = {token.content: "" if token.options.get("special") else r"\z" for token in found_after}
    bare = "|".join(re.escape(content) + end for content, end in ends.items())
    return {"type": "Replace", "pattern": {"Regex": rf"\A(?!{bare})"}, "content": SPACE}


def _replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}
