"""Data sets of the hub by name, streamed by the library ``datasets``; nothing but data is ever run."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from corpora.sources.raw_file import RawFile
from corpora.sources.records import mapped
from corpora.sources.source import HUB, Source
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document


@dataclass(frozen=True, slots=True)
class HubName:
    """What ``org/name[:config][:split]`` names."""

    path: str
    config: str | None
    split: str


def parse_hub_name(name: str) -> HubName:
    """Return the parts of ``org/name[:config][:split]``; in ``org/name::split`` the config is left out.

    Raises:
        ConfigError: If there are more parts, or no name.
    """
    path, *rest = name.split(":")
    if not path or len(rest) > 2:
        raise ConfigError(f"expected {HUB}NAME[:CONFIG][:SPLIT], got {HUB}{name}; check the source's path.")
    config, split = (*rest, "", "")[:2]
    return HubName(path, config or None, split or "train")


def list_shards(name: str) -> int:
    """Return in how many shards a data set of the hub lies; each is a slice.

    Raises:
        InputError: If it cannot be found or reached.
    """
    return max(1, int(_open(name).num_shards))


def read_shard(name: str, shard: int, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of one shard, streamed; ids are made of the shard's number and the row's.

    Raises:
        InputError: If it cannot be found, reached, or read to its end.
    """
    data = _open(name)
    part = data.shard(num_shards=data.num_shards, index=shard) if data.num_shards > 1 else data
    file = RawFile(label=f"{HUB}{name}#{shard}", name=f"{name}#{shard}", open=lambda: nullcontext(BytesIO()))
    yield from mapped(_rows(part, name, quarantine), file, source, quarantine)


def _rows(part: Any, name: str, quarantine: Quarantine) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = iter(part)
    number = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # every reader of the library and every file system has its own
            raise InputError(f"{HUB}{name} cannot be read to its end ({_words(error)}); try again.") from error
        number += 1
        quarantine.num_seen += 1
        yield number, row


def _open(name: str) -> Any:
    import datasets

    wanted = parse_hub_name(name)
    try:
        return datasets.load_dataset(wanted.path, wanted.config, split=wanted.split, streaming=True)
    except Exception as error:  # not found, no network, no such config or split, gated: each of another class
        raise InputError(
            f"cannot open {HUB}{name} ({_words(error)}); check the name, its config and split, and the network, or "
            "download it and pass the folder."
        ) from error


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
