"""Tokens that ``config.json`` and ``generation_config.json`` name by id."""

from collections.abc import Iterator, Mapping
from typing import Any


def ids_in(config: Mapping[str, Any]) -> Iterator[int]:
    """Yield the ids under every key that holds tokens' ids; negative ones stand for no token."""
    for key, value in config.items():
        if _holds_ids(key):
            yield from (token for token in _flat(value) if token >= 0)
        elif isinstance(value, dict):
            yield from ids_in(value)  # pyright: ignore[reportUnknownArgumentType]


def renumbered_config(config: Mapping[str, Any], new_id: Mapping[int, int]) -> dict[str, Any]:
    """Return a configuration with new ids; an id that no token has any more is taken out of lists.

    A list in a list is a sequence of tokens (``bad_words_ids``): without one of its tokens it is taken out whole, since
    what is left would stand for another text.
    """
    return {key: _mapped(value, new_id) if _holds_ids(key) else _nested(value, new_id) for key, value in config.items()}


def _holds_ids(key: str) -> bool:
    return key.endswith(("_token_id", "_token_ids", "suppress_tokens")) or key == "bad_words_ids"


def _nested(value: Any, new_id: Mapping[int, int]) -> Any:
    return renumbered_config(value, new_id) if isinstance(value, dict) else value


def _mapped(value: Any, new_id: Mapping[int, int]) -> Any:
    if isinstance(value, list):
        kept = [_mapped(one, new_id) for one in value if all(token in new_id for token in _flat(one))]
        return kept if kept or not value else None  # transformers refuses an empty bad_words_ids
    return new_id.get(value) if isinstance(value, int) and value >= 0 else value


def _flat(value: Any) -> Iterator[int]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
