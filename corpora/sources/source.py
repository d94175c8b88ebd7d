"""One part of a mix: where its text lies, how it is read, and what is known of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from corpora.sources.parallel import ParallelConfig
from hanlm.errors import ConfigError
from hanlm.records import TxtUnit

type FormatName = Literal[
    "jsonl",
    "json",
    "txt",
    "md",
    "parallel",
    "parquet",
    "arrow",
    "warc",
    "wet",
    "wikipedia",
    "epub",
    "html",
    "zip",
    "tar",
]

HUB: Final = "hf:"
"""What a path begins with that names a data set for the library ``datasets``."""

_NO_PATH: Final = Path("(no path)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Which columns of a record hold what; `a.b` reaches into nested records, and through lists of them.

    A column that is named here has to be there; without a name, the column of the label's own name is taken where
    there is one, and with `null` none is.
    """

    text: tuple[str, ...] = ("text",)
    """The text; of several columns, joined by a blank line."""
    id: str | None = ""
    """Name of a document; by default its file and line."""
    domain: str | None = ""
    """Domain."""
    lang: str | None = ""
    """Language."""
    source: str | None = ""
    """Where it comes from; by default its file."""
    license: str | None = ""
    """Licence."""
    group: str | None = ""
    """Documents of one group go to one side of a split."""

    def __post_init__(self) -> None:
        if not self.text or not all(self.text):
            raise ConfigError("expected `fields: text:` to name at least one column, got none.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One part of a mix."""

    path: Path = _NO_PATH
    """A file, a folder, an artifact of text, or `hf:NAME[@REVISION][:CONFIG][:SPLIT]` for a data set of the
    hub, which is read at the commit that it has when the build begins."""
    domain: str | None = None
    """Domain of its documents that name none; else the run's."""
    lang: str | None = None
    """Language of its documents that name none; else the run's."""
    txt_unit: TxtUnit | None = None
    """What is one document in its text files; else the run's."""
    license: str = ""
    """Licence of its documents that name none."""
    format: FormatName | None = None
    """How its files are read, whatever their names end in."""
    encoding: str | None = None
    """Encoding of its text files, such as gb18030; by default detected for each file."""
    fields: Fields = field(default_factory=Fields)
    """Which columns of its records hold what."""
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    """How pairs of texts and translations are read, in .tsv files and with `format: parallel`."""
    set: str = ""
    """A set that `hanlm corpus sets` lists: its columns and labels hold where this source names none."""

    def __post_init__(self) -> None:
        if self.path == _NO_PATH and not self.set:
            raise ConfigError("expected each source to have a `path` or a `set`, got neither.")
        if self.encoding is not None:
            from hanlm.encodings import codec_name

            codec_name(self.encoding)

    @property
    def has_path(self) -> bool:
        """Whether it says where the text lies, rather than only which known set it is."""
        return self.path != _NO_PATH

    @property
    def hub_name(self) -> str | None:
        """What the library ``datasets`` is asked for; None for files and folders."""
        name = str(self.path)
        return name.removeprefix(HUB) if name.startswith(HUB) else None
