"""Learn new pieces: continued byte-pair encoding over distinct weighted segments.

Each step adds the string that saves most tokens: a character that the base spells in bytes, or the concatenation of
two neighbouring pieces. Any prefix of the result is a vocabulary, so one run gives the whole size curve. The
result depends on the segments and weights alone, not on their order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenizer import bpe_kernels as kernels
from tokenizer.bpe_loop import NEEDS_ROOM, add_pieces, add_token, seed
from tokenizer.pieces import STRONG, Pieces, class_table

WEIGHT_UNIT = 100
"""Weights are whole numbers of 1/100 occurrence, so that sums do not depend on their order."""

MAX_PIECE_CHARS = 16

_MIN_ROOM = 1 << 20


@dataclass(frozen=True, slots=True)
class Learned:
    """New pieces in order of gain, and what they save."""

    pieces: list[str]
    gains: list[float]
    """Tokens that each piece saved on the weighted text when it was added."""
    saved: npt.NDArray[np.int64]
    """[sizes, domains]: tokens saved on held-out text with the first ``sizes[i]`` pieces."""


def learn(
    segments: Mapping[str, int],
    *,
    pieces: Pieces,
    known_chars: Iterable[str],
    base_pieces: Sequence[str],
    sizes: Sequence[int],
    held_out: Sequence[Sequence[str]] = (),
    min_gain: int = 2 * WEIGHT_UNIT,
    max_chars: int = MAX_PIECE_CHARS,
) -> Learned:
    """Return the best new pieces for weighted segments.

    Args:
        segments: Segment (as ``pieces.segments`` cuts them) -> weight in 1/WEIGHT_UNIT.
        pieces: The character classes the segments were cut with.
        known_chars: Characters that are pieces of the base.
        base_pieces: The base's pieces of two or more characters that may occur in segments, best rank first.
        sizes: Increasing numbers of new pieces at which to note what held-out text saves; the last is the budget.
        held_out: Segments per domain that are tokenized but not learned from.
        min_gain: A piece that saves less is not added.
        max_chars: Longest new piece.

    Returns:
        At most ``sizes[-1]`` pieces; fewer where the text holds no more.
    """
    state, first, last = _state(segments, held_out, pieces, frozenset(known_chars), base_pieces, sizes[-1])
    state = state._replace(max_chars=np.int64(max_chars), min_gain=np.int64(min_gain))
    state = _with_room_as_needed(state, lambda s: seed(s, np.int64(first), np.int64(last)))
    state.saved[:] = 0  # what the base's own pieces saved is no gain of ours
    state.n[kernels.FLOOR] = max(8 * min_gain, int(state.gain.max()))  # above min_gain, so that the heap is filled
    saved = np.zeros((len(sizes), state.saved.size), np.int64)
    for row, size in enumerate(sizes):
        state = _with_room_as_needed(state, lambda s, size=size: add_pieces(s, np.int64(size)))
        saved[row] = state.saved
    count = int(state.n[kernels.NUM_NEW])
    found = [
        _string(state.text[start : start + length])
        for start, length in zip(state.new_first[:count], state.new_length[:count], strict=True)
    ]
    return Learned(found, (state.new_gain[:count] / WEIGHT_UNIT).tolist(), saved)


def _with_room_as_needed(state: kernels.State, step: Callable[[kernels.State], int]) -> kernels.State:
    """Call compiled code until it is done, enlarging what it says is full."""
    while step(state) == NEEDS_ROOM:
        state = _enlarged(state)
    return state


def _enlarged(s: kernels.State) -> kernels.State:
    """Return the state with room for the step that asked for it, and a third more of what was full."""
    spare = int(s.n[kernels.SPARE])
    candidates = _capacity(s.gain.size, int(s.n[kernels.NUM_CANDIDATES]) + spare)
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


def _state(
    segments: Mapping[str, int],
    held_out: Sequence[Sequence[str]],
    pieces: Pieces,
    known_chars: frozenset[str],
    base_pieces: Sequence[str],
    num_new: int,
) -> tuple[kernels.State, int, int]:
    """Return the state before anything is merged, and the range of the base pieces' token ids."""
    text, weight = _text(segments, held_out)
    chars = np.unique(text[text > 0])
    first, last = chars.size, chars.size + len(base_pieces)
    token_of = np.full(0x110000, kernels.BARRIER, np.int32)
    token_of[chars] = np.arange(first)
    max_tokens = last + num_new
    slots = 1 << (4 * max_tokens).bit_length()
    known, strong = np.zeros(max_tokens, np.bool_), np.zeros(max_tokens, np.bool_)
    strong[:first] = class_table(pieces)[chars] == STRONG
    known[:first] = [chr(c) in known_chars for c in chars.tolist()]
    hashes = np.zeros(max_tokens, np.uint64)
    hashes[:first] = np.fromiter((kernels.char_hash(c) for c in chars), np.uint64, first)
    state = kernels.State(
        text=text,
        weight=weight,
        tok=token_of[text],
        end_len=np.ones(text.size, np.uint8),
        tok_hash=hashes,
        tok_len=np.ones(max_tokens, np.int32),
        tok_strong=strong,
        tok_known=known,
        power=kernels.HASH_BASE ** np.arange(256, dtype=np.uint64),
        vocab=np.zeros(2 * slots, np.uint64),
        table=np.zeros(2, np.uint64),
        gain=np.zeros(1, np.int64),
        meta=np.zeros(kernels.NUM_FIELDS, np.int32),
        records=np.zeros(2, np.int32),
        heap_gain=np.zeros(1, np.int64),
        heap_candidate=np.zeros(1, np.int32),
        touched=np.zeros(1, np.int32),
        positions=np.zeros(1, np.int32),
        saved=np.zeros(max(1, len(held_out)), np.int64),
        new_first=np.zeros(num_new, np.int32),
        new_length=np.zeros(num_new, np.int32),
        new_gain=np.zeros(num_new, np.int64),
        n=np.zeros(kernels.NUM_COUNTERS, np.int64),
        max_chars=np.int64(0),
        min_gain=np.int64(0),
    )
    state.n[kernels.ACTIVE], state.n[kernels.PENDING] = first, -1
    for token, piece in enumerate(base_pieces, first):
        code_points = _code_points(piece)
        add_token(
            state,
            np.int64(token),
            np.uint64(kernels.string_hash(code_points, np.int64(0), np.int64(code_points.size))),
            np.int64(code_points.size),
        )
        strong[token] = bool((class_table(pieces)[code_points] == STRONG).any())
    return state, first, last


def _text(
    segments: Mapping[str, int], held_out: Sequence[Sequence[str]]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return all segments' code points with a barrier (0) around each, and the weight of each position."""
    strings = [*segments, *(segment for domain in held_out for segment in domain)]
    weights = [min(weight, 2**31 - 1) for weight in segments.values()]
    weights += [-(index + 1) for index, domain in enumerate(held_out) for _ in domain]
    text = _code_points("\0" + "\0".join(strings) + "\0")
    lengths = np.fromiter((len(string) + 1 for string in strings), np.int64, len(strings))
    weight = np.zeros(text.size, np.int32)
    weight[1 : 1 + lengths.sum()] = np.repeat(np.array(weights, np.int32), lengths)
    return text, weight


def _code_points(text: str) -> npt.NDArray[np.int32]:
    return np.frombuffer(text.encode("utf-32-le"), np.int32)


def _string(code_points: npt.NDArray[Any]) -> str:
    return code_points.tobytes().decode("utf-32-le")
