"""Counts as a user reads them: numbers by reason, in one line."""

from collections.abc import Mapping


def by_reason(counts: Mapping[str, int]) -> str:
    """Return ``12 (null_field: 9, unknown_format: 3)``, the commonest reason first; ``0`` where there is none."""
    total = sum(counts.values())
    reasons = ", ".join(f"{name}: {n:,}" for name, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    return f"{total:,} ({reasons})" if total else "0"
