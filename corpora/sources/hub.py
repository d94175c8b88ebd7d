"""Data sets of the hub by name, streamed by the library ``datasets``; nothing but data is ever run."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from corpora.sources.raw_file import RawFile
from corpora.sources.records import mapped
from corpora.sources.source import HUB, Source
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document


@dataclass(frozen=True, slots=True)
class HubName:
    """What ``org/name[@revision][:config][:split]`` names."""

    path: str
    """``org/name``, or a folder of this machine."""
    revision: str | None
    """Branch, tag or commit; None is the main branch."""
    config: str | None
    split: str

    @property
    def is_folder(self) -> bool:
        """Whether it lies on this machine."""
        return Path(self.path).is_dir()


def parse_hub_name(name: str) -> HubName:
    """Return the parts of ``org/name[@revision][:config][:split]``; in ``org/name::split`` the config is left out.

    Raises:
        ConfigError: If there are more parts, or no name.
    """
    path, *rest = name.split(":")
    if not path or len(rest) > 2:
        raise ConfigError(f"expected {HUB}NAME[@REVISION][:CONFIG][:SPLIT], got {HUB}{name}; check the source's path.")
    config, split = (*rest, "", "")[:2]
    path, _, revision = (path, "", "") if Path(path).is_dir() else path.partition("@")
    return HubName(path, revision or None, config or None, split or "train")


@dataclass(frozen=True, slots=True)
class HubSet:
    """What the hub has at the moment when it was asked."""

    version: str
    """The commit, which is what all tasks read, however the hub goes on; of a folder, a hash over its files' times."""
    num_shards: int


def find_hub_set(name: str) -> HubSet:
    """Return the present version of a data set, and in how many shards it lies; each is a slice.

    Raises:
        InputError: If it cannot be found or reached.
    """
    import datasets

    wanted = parse_hub_name(name)
    try:
        builder = datasets.load_dataset_builder(wanted.path, wanted.config, revision=wanted.revision)
    except Exception as error:
        raise _not_opened(name, error) from error
    version = str(builder.hash)
    if wanted.is_folder:
        files = cast(dict[Any, Any], builder.config.data_files or {})
        times = {str(split): found.origin_metadata for split, found in files.items()}
        version = sha256(repr(sorted(times.items())).encode()).hexdigest()
    return HubSet(version, max(1, int(_open(name, version).num_shards)))


def read_shard(name: str, version: str, shard: int, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of one shard, streamed; ids are made of the shard's number and the row's.

    Raises:
        InputError: If it cannot be found, reached, or read to its end.
    """
    data = _open(name, version)
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


def _open(name: str, version: str) -> Any:
    import datasets

    wanted = parse_hub_name(name)
    revision = None if wanted.is_folder else version
    try:
        return datasets.load_dataset(wanted.path, wanted.config, split=wanted.split, revision=revision, streaming=True)
    except Exception as error:  # not found, no network, no such config or split, gated: each of another class
        raise _not_opened(name, error) from error


def _not_opened(name: str, error: Exception) -> InputError:
    return InputError(
        f"cannot open {HUB}{name} ({_words(error)}); check the name, its config and split, and the network, or "
        "download it and pass the folder."
    )


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
