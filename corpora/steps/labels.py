"""How counts by domain and the like are named in datatrove's statistics, which know plain names only."""

from collections import Counter
from collections.abc import Mapping

_BETWEEN = "/"


def label(what: str, value: str) -> str:
    """Return the name of the count of ``what`` for one ``value``, such as a domain."""
    return f"{what}{_BETWEEN}{value}"


def by_value(counts: Mapping[str, int], what: str) -> Counter[str]:
    """Return the counts of ``what`` by value."""
    head = what + _BETWEEN
    return Counter({name.removeprefix(head): n for name, n in counts.items() if name.startswith(head)})
