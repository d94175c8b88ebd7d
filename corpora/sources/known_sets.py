"""The well-known sets of text for Chinese models: what each is, its licence, how to fetch it, what its columns are."""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from corpora.sources.source import HUB, Fields, FormatName, Source
from hanlm.config import check_keys, read_yaml
from hanlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSet:
    """One set of text that others have used."""

    title: str
    size: str
    """Of its text, as its makers say."""
    lang: str
    license: str
    """``unclear: …`` where its makers name none, or one that they may not give."""
    homepage: str
    hub: str = ""
    """``org/name[:config][:split]`` on the Hugging Face hub."""
    fetch: str
    """One command that downloads it."""
    domain: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    format: FormatName | None = None
    notes: str = ""
    checked: str
    """How far these facts were checked."""


@cache
def known_sets() -> dict[str, KnownSet]:
    """Return the known sets by their short names."""
    path = Path(__file__).with_name("known_sets.yaml")
    entries = read_yaml(path)
    for name, entry in entries.items():
        check_keys(entry, KnownSet, f"{path.name}, {name}")
    return {name: KnownSet(**entry) for name, entry in entries.items()}


def known_set(name: str) -> KnownSet:
    """Return one known set.

    Raises:
        ConfigError: If there is none of that name.
    """
    from difflib import get_close_matches

    if (found := known_sets().get(name)) is not None:
        return found
    near = get_close_matches(name, known_sets(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`hanlm corpus sets` lists them."
    raise ConfigError(f"there is no known set {name!r}; {hint}")


def with_known_set(source: Source) -> Source:
    """Return the source with its known set's place, columns and labels wherever it names none itself."""
    if not source.set:
        return source
    known = known_set(source.set)
    if not source.has_path and not known.hub:
        raise ConfigError(
            f"the set {source.set!r} has no place on the hub; fetch it ({known.fetch}) and name its `path`."
        )
    columns: dict[str, Any] = {**known.fields}
    columns["text"] = tuple(columns.get("text", ("text",)))
    return replace(
        source,
        path=source.path if source.has_path else Path(f"{HUB}{known.hub}"),
        domain=source.domain or known.domain,
        lang=source.lang or known.lang,
        license=source.license or known.license,
        format=source.format or known.format,
        fields=source.fields if source.fields != Fields() else Fields(**columns),
    )
