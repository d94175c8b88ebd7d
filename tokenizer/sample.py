"""A corpus larger than memory: a share of every large domain's documents, the same ones whoever draws them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hanlm.log import say
from hanlm.quarantine import Quarantine
from hanlm.records import Document, list_files, read_documents
from hanlm.text import content_digest

_COMPRESSED: Final = (".gz", ".zst", ".parquet")
_RATIO: Final = 6
"""Most that text of these kinds is larger in memory than on the disk; Chinese json lines in gzip come to 3."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which documents are learned from."""

    num_chars: Mapping[str, int] = field(default_factory=dict[str, int])
    """Domain -> characters in all; empty where everything is taken."""
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    """Domain -> share of its documents; 1 where it is not named."""

    def takes(self, document: Document) -> bool:
        """Say whether a document is in the sample; its text decides, not its place."""
        share = self.shares.get(document.domain, 1.0)
        if share == 1:
            return True
        # The first 32 bits of the hash decide the valid split: others are used, or the sample would favour one side.
        return int.from_bytes(content_digest(document.text)[4:8], "big") < share * 2**32

    def as_record(self) -> dict[str, Any]:
        """Return what the manifest says of the sample."""
        return {
            domain: {"num_chars": size, "share": self.shares.get(domain, 1.0)}
            for domain, size in sorted(self.num_chars.items())
        }


def plan_sample(paths: Sequence[Path], max_chars: int) -> Sample:
    """Return a sample of about ``max_chars`` characters.

    Small domains are taken whole; the others give equally much each. A corpus whose files could hold more than
    ``max_chars`` is read once more, to measure its domains.

    Args:
        paths: What is learned from.
        max_chars: 0 takes everything.
    """
    if max_chars == 0 or _most_chars(paths) <= max_chars:
        return Sample()
    say(f"the corpus may be larger than --max-chars {max_chars:,}: measuring its domains")
    sizes: Counter[str] = Counter()
    for document in read_documents(list(paths), Quarantine(), txt_unit="line", split="train"):
        sizes[document.domain] += len(document.text)
    room = fair_share(list(sizes.values()), max_chars)
    shares = {domain: room / size for domain, size in sizes.items() if size > room}
    return Sample(dict(sizes), shares)


def fair_share(sizes: Sequence[int], total: int) -> float:
    """Return the most that each may take, so that all together take ``total`` and small ones are not cut."""
    left, num_left = float(total), len(sizes)
    for size in sorted(sizes):
        if size * num_left > left:
            return left / num_left
        left -= size
        num_left -= 1
    return float(max(sizes, default=0))


def _most_chars(paths: Sequence[Path]) -> int:
    """Return more characters than the files can hold; a Chinese character takes three bytes of UTF-8."""
    files = list_files(paths)
    return sum(file.stat().st_size * (_RATIO if file.name.endswith(_COMPRESSED) else 1) for file in files)
