"""Numbers as the report's reader sees them."""

from collections.abc import Mapping

MAX_ROWS = 40
"""Domains that a table shows; the others are summed."""


def share(count: int, of: int) -> str:
    """Return a percentage, with more digits where it is tiny."""
    if not of:
        return "–"
    if not count:
        return "0%"
    part = count / of
    return f"{part:.1%}" if part >= 0.1 else f"{part:.2%}" if part >= 0.0001 else f"{part:.4%}"


def byte_size(num_bytes: int | None) -> str:
    """Return ``1.23 MB``, of a negative number with its sign; a dash for None."""
    if num_bytes is None:
        return "–"
    size = float(num_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{num_bytes} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def counted(count: int, noun: str) -> str:
    """Return ``1 document`` or ``2,000 documents``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def largest(rows: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return the names with the largest counts, largest first, and those that a table has no room for."""
    names = sorted(rows, key=lambda name: (-rows[name], name))
    return names[:MAX_ROWS], names[MAX_ROWS:]


def listed(counts: Mapping[str, int], limit: int = 3) -> str:
    """Return ``too_short 12, empty 3``, the commonest first, and how many more reasons there are."""
    order = sorted(counts, key=lambda name: (-counts[name], name))
    more = [f"{len(order) - limit} more"] if len(order) > limit else []
    return ", ".join([*(f"{name} {counts[name]:,}" for name in order[:limit]), *more])
