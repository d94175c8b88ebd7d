"""Ids that moved because other tokens were dropped: wherever a base names a token by its id."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from tokenizer.base import Base
from tokenizer.config_ids import renumbered_config


def new_ids(num_tokens: int, dropped: Collection[int]) -> dict[int, int]:
    """Return old id -> new id of the tokens that stay."""
    gone = frozenset(dropped)
    kept = (token for token in range(num_tokens) if token not in gone)
    return {old: new for new, old in enumerate(kept)}


def renumbered(base: Base, new_id: Mapping[int, int]) -> dict[str, Any]:
    """Return the fields of a base that name tokens by id, with the new ones."""
    return {
        "added_tokens": [replace(token, id=new_id[token.id]) for token in base.added_tokens],
        "post_processor": _post_processor(base.post_processor, new_id),
        "config": renumbered_config(base.config, new_id) if base.config is not None else None,
    }


def _post_processor(step: Any, new_id: Mapping[int, int]) -> Any:
    """Return a post-processor with new ids: it keeps them beside the tokens' names."""
    if isinstance(step, list):
        return [_post_processor(one, new_id) for one in step]
    if not isinstance(step, dict):
        return step
    # RoBERTa's sort keeps [name, id] under the last two.
    named = ("ids", "sep", "cls")
    return {key: _ids(v, new_id) if key in named else _post_processor(v, new_id) for key, v in step.items()}


def _ids(values: list[Any], new_id: Mapping[int, int]) -> list[Any]:
    return [new_id[value] if isinstance(value, int) else value for value in values]
