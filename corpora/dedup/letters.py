"""Text as arrays: code points, and the letters and digits that copies are compared by."""

from functools import cache

import numpy as np
import numpy.typing as npt

_NUM_CODE_POINTS = 0x110000
# Beyond the third plane no code point is a letter or a digit; asking them all would take 0.3 seconds a process.
_LAST_LETTERS = 0x40000


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the text's characters, one uint32 each."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@cache
def folded_letters() -> npt.NDArray[np.uint32]:
    """Return, for each code point, the letter or digit it is compared as: in lower case; 0 for all else."""
    table = np.zeros(_NUM_CODE_POINTS, dtype=np.uint32)
    for point in range(_LAST_LETTERS):
        char = chr(point)
        if char.isalnum():
            folded = char.casefold()
            table[point] = ord(folded) if len(folded) == 1 else point
    return table
