"""Some windows of a corpus of any size, in one pass: every character is about equally likely to be in one."""

import heapq
import math
from random import Random
from typing import Final

NUM_WINDOWS: Final = 2_000
WINDOW_CHARS: Final = 1_000
"""At most two million characters: enough to count 18,000 tokens, of which the rarest occurs once in a million."""


class Reservoir:
    """A weighted sample without replacement, the same for the same texts in the same order.

    Source: Efraimidis and Spirakis 2006, Weighted random sampling with a reservoir.
    """

    def __init__(self, num_windows: int = NUM_WINDOWS, window_chars: int = WINDOW_CHARS) -> None:
        self._num_windows, self._window_chars = num_windows, window_chars
        self._random = Random(0)
        self._heap: list[tuple[float, int, str]] = []
        self._num_seen = 0

    def add(self, text: str) -> None:
        """Offer a text; of a long one a window at a random place is kept."""
        # A short text is kept whole, so it weighs one; a long one as much as the windows it holds.
        weight = max(1.0, len(text) / self._window_chars)
        key = math.log(1.0 - self._random.random()) / weight
        self._num_seen += 1
        if len(self._heap) == self._num_windows and key <= self._heap[0][0]:
            return
        start = self._random.randrange(max(0, len(text) - self._window_chars) + 1)
        entry = (key, self._num_seen, text[start : start + self._window_chars])
        (heapq.heappush if len(self._heap) < self._num_windows else heapq.heapreplace)(self._heap, entry)

    @property
    def texts(self) -> list[str]:
        """The windows, in the order they came."""
        return [text for _, _, text in sorted(self._heap, key=lambda entry: entry[1])]
