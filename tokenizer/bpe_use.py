"""The compiled part of counting uses: one pass over the segments' tokens."""

from typing import Any

from hanlm.jit import entry_jit


@entry_jit
def add_uses(tok: Any, lengths: Any, counts: Any, used: Any) -> None:
    """Add each token's occurrences to ``used``.

    Args:
        tok: [positions] the token that starts there, negative where none does; a barrier before each segment.
        lengths: [segments] in positions.
        counts: [segments, parts] how often each segment counts.
        used: [tokens, parts]
    """
    position = 1
    for segment in range(lengths.size):
        for p in range(position, position + lengths[segment]):
            if tok[p] >= 0:
                for part in range(counts.shape[1]):
                    used[tok[p], part] += counts[segment, part]
        position += lengths[segment] + 1
