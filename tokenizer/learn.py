"""Learn new pieces: continued byte-pair encoding over distinct weighted segments.

Each step adds the string that saves most tokens: a character that the base spells in bytes, or the concatenation of
two neighbouring pieces. Any prefix of the result is a vocabulary, so one run gives the whole size curve. The
result depends on the segments and weights alone, not on their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenizer import bpe_kernels as kernels
from tokenizer.bpe_loop import NEEDS_ROOM, add_given, add_pieces, seed
from tokenizer.rare_pairs import Runs
from tokenizer.start import Start, check_positions

WEIGHT_UNIT = 100
"""Weights are whole numbers of 1/100 occurrence, so that sums do not depend on their order."""

_MIN_ROOM = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """New pieces in order of gain, and what they save."""

    pieces: list[str]
    gains: list[float]
    """Tokens that each piece saved on the weighted text when it was added."""
    saved: npt.NDArray[np.int64]
    """[sizes, domains]: tokens saved on held-out text with the first ``sizes[i]`` pieces."""
    tokens: npt.NDArray[np.int64]
    """[pieces]: the pieces' ids in the arrays below."""
    tok: npt.NDArray[np.int32]
    """[positions]: the text as it is tokenized with all pieces, as in ``kernels.State``."""
    tok_hash: npt.NDArray[np.uint64]
    """[tokens]"""
    tok_len: npt.NDArray[np.int32]
    """[tokens]: in symbols."""
    runs: Runs | None
    """What the segments were cut into, where they were."""
    is_exact: bool
    """Whether learning from uncut segments would have given the same."""


def learn(start: Start, *, sizes: Sequence[int], min_gain: int = 2 * WEIGHT_UNIT) -> Learned:
    """Return the best new pieces for weighted segments.

    Args:
        start: The segments in the base's tokens; used up by this.
        sizes: Increasing numbers of new pieces at which to note what held-out text saves; the last is the budget.
        min_gain: A piece that saves less is not added.

    Returns:
        At most ``sizes[-1]`` pieces; fewer where the text holds no more.
    """
    state = _seeded(start, min_gain)
    state.n[kernels.FLOOR] = max(8 * min_gain, int(state.gain.max()))  # above min_gain, so that the heap is filled
    saved = np.zeros((len(sizes), state.saved.size), np.int64)
    for row, size in enumerate(sizes):
        state = _with_room_as_needed(state, lambda s, size=size: add_pieces(s, np.int64(size)))
        saved[row] = state.saved
    count = int(state.n[kernels.NUM_NEW])
    found = [
        start.spell(state.text[first : first + length])
        for first, length in zip(state.new_first[:count], state.new_length[:count], strict=True)
    ]
    gains, least = state.new_gain[:count], start.runs.least if start.runs else 0
    # Where the text held no more pieces, none that reaches over a cut would have been worth adding either.
    has_all = least <= min_gain or (count == sizes[-1] and int(gains.min()) >= least)
    # The rest of the state is large, and no longer of use.
    return Learned(
        pieces=found,
        gains=(gains / WEIGHT_UNIT).tolist(),
        saved=saved,
        tokens=_new_tokens(state, start),
        tok=state.tok,
        tok_hash=state.tok_hash,
        tok_len=state.tok_len,
        runs=start.runs,
        is_exact=has_all and not start.is_saturated,
    )


def replay(
    start: Start, keys: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int64], sizes: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Return what given pieces save on held-out text, [sizes, domains], added in the given order.

    Args:
        start: The held-out segments in the base's tokens; used up by this.
        keys: The pieces' hashes, best rank first.
        lengths: Their symbols.
        sizes: Increasing numbers of pieces at which to note what is saved.
    """
    state = _seeded(start, 0)
    saved = np.zeros((len(sizes), state.saved.size), np.int64)
    for row, size in enumerate(sizes):
        state = _with_room_as_needed(state, lambda s, size=size: add_given(s, keys[:size], lengths[:size]))
        saved[row] = state.saved
    return saved


def _seeded(start: Start, min_gain: int) -> kernels.State:
    """Return the state with the base's own pieces merged."""
    state = start.state._replace(min_gain=np.int64(min_gain))
    state = _with_room_as_needed(state, lambda s: seed(s, np.int64(start.first), np.int64(start.last)))
    state.saved[:] = 0  # what the base's own pieces saved is no gain of ours
    return state


def _new_tokens(state: kernels.State, start: Start) -> npt.NDArray[np.int64]:
    """Return the ids of the new pieces: a character has one from the start, longer ones are numbered on."""
    count = int(state.n[kernels.NUM_NEW])
    longer = state.new_length[:count] > 1
    tokens = start.last - 1 + np.cumsum(longer)
    characters = {int(key): token for token, key in enumerate(state.tok_hash[: start.first])}
    for i in np.flatnonzero(~longer):
        tokens[i] = characters[int(kernels.char_hash(state.text[state.new_first[i]]))]
    return tokens


def _with_room_as_needed(state: kernels.State, step: Callable[[kernels.State], int]) -> kernels.State:
    """Call compiled code until it is done, enlarging what it says is full."""
    while step(state) == NEEDS_ROOM:
        state = _enlarged(state)
    return state


def _enlarged(s: kernels.State) -> kernels.State:
    """Return the state with room for the step that asked for it, and a third more of what was full."""
    spare = int(s.n[kernels.SPARE])
    candidates = _capacity(s.gain.size, int(s.n[kernels.NUM_CANDIDATES]) + spare)
    check_positions(int(s.n[kernels.NUM_RECORDS]) + spare)
    records = _capacity(s.records.size // 2, int(s.n[kernels.NUM_RECORDS]) + spare)
    heap = _capacity(s.heap_gain.size, int(s.n[kernels.NUM_HEAP]) + spare)
    touched = np.zeros(_capacity(s.touched.size, spare), np.int32)  # empty between steps
    table, slots = s.table, 1 << (2 * (int(s.n[kernels.NUM_CANDIDATES]) + spare) - 1).bit_length()
    if slots > table.size // 2:
        table = np.zeros(2 * slots, np.uint64)
        kernels.rehash(s.table, table)
    return s._replace(
        table=table,
        gain=_grown(s.gain, candidates),
        touched=touched,
        positions=np.zeros(touched.size, np.int32),
        meta=_grown(s.meta, candidates * kernels.NUM_FIELDS),
        records=_grown(s.records, 2 * records),
        heap_gain=_grown(s.heap_gain, heap),
        heap_candidate=_grown(s.heap_candidate, heap),
    )


def _capacity(have: int, need: int) -> int:
    return have if need <= have else need + max(need // 3, _MIN_ROOM)


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if size <= array.size:
        return array
    larger = np.zeros(size, array.dtype)
    larger[: array.size] = array
    return larger
