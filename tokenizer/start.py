"""Where learning begins: all segments as one array, in the tokens that the base gives them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hanlm.errors import InputError
from tokenizer import bpe_kernels as kernels
from tokenizer.bpe_loop import add_token
from tokenizer.pieces import STRONG, Pieces, class_table
from tokenizer.rare_pairs import Runs, cut_rare

MAX_PIECE_CHARS = 16
MAX_TOKEN_SYMBOLS = 255
"""Longest token of a base that learning knows; the kernels keep lengths in a byte."""
MAX_WEIGHT = 2**31 - 1
MAX_POSITIONS = 2**31 - 1
"""Positions in the text, and records of them, are int32."""


class Start(NamedTuple):
    """A state before anything is merged."""

    state: kernels.State
    first: int
    last: int
    """``first`` to ``last``: ids of the base's pieces that are to be merged before new ones are sought."""
    spell: Callable[[npt.NDArray[np.int32]], str]
    """Symbols -> the piece as the vocabulary spells it."""
    runs: Runs | None = None
    """What the segments were cut into, where they were."""
    is_saturated: bool = False
    """Whether a run counts less than its segments do together, because weights end at ``MAX_WEIGHT``."""


def start_from_characters(
    segments: Mapping[str, int],
    held_out: Sequence[Sequence[str]],
    pieces: Pieces,
    known_chars: Iterable[str],
    base_pieces: Sequence[str],
    num_new: int,
    max_chars: int = MAX_PIECE_CHARS,
    num_pairs: int | None = None,
) -> Start:
    """Return the start for a base that merges characters, as SentencePiece does.

    Args:
        segments: Segment (as ``pieces.segments`` cuts them) -> weight in 1/WEIGHT_UNIT.
        held_out: Segments per domain that are tokenized but not learned from.
        pieces: The character classes the segments were cut with.
        known_chars: Characters that are pieces of the base.
        base_pieces: The base's pieces of two or more characters that may occur in segments, best rank first.
        num_new: The most pieces that will be added.
        max_chars: Longest new piece.
        num_pairs: Cut segments at all but so many pairs of characters, see ``rare_pairs``; None cuts nowhere.
    """
    text, weight, runs, is_saturated = _text(segments, held_out, base_pieces, num_pairs)
    chars = np.flatnonzero(np.bincount(text))[1:].astype(np.int32)  # the first is the barrier, 0
    first, last = chars.size, chars.size + len(base_pieces)
    token_of = np.full(0x110000, kernels.BARRIER, np.int32)
    token_of[chars] = np.arange(first)
    state = empty_state(text, weight, last, num_new, max(1, len(held_out)), max_chars)
    state.tok[:] = token_of[text]
    known = frozenset(known_chars)
    state.tok_strong[:first] = class_table(pieces)[chars] == STRONG
    state.tok_known[:first] = [chr(c) in known for c in chars.tolist()]
    state.tok_hash[:first] = np.fromiter((kernels.char_hash(c) for c in chars), np.uint64, first)
    state.n[kernels.ACTIVE] = first
    for token, piece in enumerate(base_pieces, first):
        enter(state, token, code_points(piece))
        state.tok_strong[token] = bool((class_table(pieces)[code_points(piece)] == STRONG).any())
    return Start(state, first, last, _string, runs, is_saturated)


def empty_state(
    text: npt.NDArray[np.int32],
    weight: npt.NDArray[np.int32],
    num_base: int,
    num_new: int,
    num_domains: int,
    max_length: int,
) -> kernels.State:
    """Return a state without tokens: ``num_base`` of the base and ``num_new`` more will fit.

    Args:
        text: [positions] symbols, 0 at barriers.
        weight: [positions] of the segment; negative for held-out text, -(domain + 1).
        num_base: Tokens of the base.
        num_new: The most that will be added.
        num_domains: Of held-out text.
        max_length: Longest new piece in symbols.

    Raises:
        InputError: If the text has more positions than can be told apart.
    """
    check_positions(text.size)
    max_tokens = num_base + num_new
    slots = 1 << (4 * max_tokens).bit_length()
    # What 58 MB came to; more is made as needed, and what is never written takes no memory.
    candidates, records = text.size // 4 + 1, 2 * text.size
    state = kernels.State(
        text=text,
        weight=weight,
        tok=np.full(text.size, kernels.BARRIER, np.int32),
        end_len=np.ones(text.size, np.uint8),
        tok_hash=np.zeros(max_tokens, np.uint64),
        tok_len=np.ones(max_tokens, np.int32),
        tok_strong=np.zeros(max_tokens, np.bool_),
        tok_known=np.zeros(max_tokens, np.bool_),
        tok_open=np.zeros(max_tokens, np.int32),
        tok_close=np.zeros(max_tokens, np.int32),
        strong_char=np.zeros(0, np.bool_),
        power=kernels.HASH_BASE ** np.arange(MAX_TOKEN_SYMBOLS + 1, dtype=np.uint64),
        vocab=np.zeros(2 * slots, np.uint64),
        table=np.zeros(2 << (2 * candidates).bit_length(), np.uint64),
        gain=np.zeros(candidates, np.int64),
        meta=np.zeros(candidates * kernels.NUM_FIELDS, np.int32),
        records=np.zeros(2 * records, np.int32),
        heap_gain=np.zeros(1, np.int64),
        heap_candidate=np.zeros(1, np.int32),
        touched=np.zeros(1, np.int32),
        positions=np.zeros(1, np.int32),
        saved=np.zeros(num_domains, np.int64),
        new_first=np.zeros(num_new, np.int32),
        new_length=np.zeros(num_new, np.int32),
        new_gain=np.zeros(num_new, np.int64),
        n=np.zeros(kernels.NUM_COUNTERS, np.int64),
        max_chars=np.int64(max_length),
        min_gain=np.int64(0),
    )
    state.n[kernels.PENDING] = -1
    return state


def check_positions(count: int) -> None:
    """Refuse more positions or records than int32 numbers."""
    if count > MAX_POSITIONS:
        raise InputError(
            "the corpus holds more distinct Chinese text than one run can learn from; pass a smaller --max-chars"
        )


def enter(state: kernels.State, token: int, symbols: npt.NDArray[np.int32]) -> None:
    """Enter a piece of the base into a state's vocabulary."""
    size = np.int64(symbols.size)
    add_token(state, np.int64(token), np.uint64(kernels.string_hash(symbols, np.int64(0), size)), size)


def weights_of(segments: Mapping[str, int], held_out: Sequence[Sequence[str]]) -> npt.NDArray[np.int32]:
    """Return the weight of each segment, those that are learned from first."""
    learned = [min(weight, MAX_WEIGHT) for weight in segments.values()]
    return np.array(learned + [-(i + 1) for i, domain in enumerate(held_out) for _ in domain], np.int32)


def strings_of(segments: Mapping[str, int], held_out: Sequence[Sequence[str]]) -> list[str]:
    """Return every segment, in the order of ``weights_of``."""
    return [*segments, *(segment for domain in held_out for segment in domain)]


def spread(weights: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return the weight of each position of segments of these lengths, with a barrier before each and after the last.

    A barrier has the weight of the segment before it; the first has none.
    """
    spread_out = np.zeros(int(lengths.sum()) + lengths.size + 1, np.int32)
    spread_out[1:] = np.repeat(weights, lengths + 1)
    return spread_out


def code_points(text: str) -> npt.NDArray[np.int32]:
    """Return a string's code points."""
    return np.frombuffer(text.encode("utf-32-le"), np.int32)


def _text(
    segments: Mapping[str, int],
    held_out: Sequence[Sequence[str]],
    base_pieces: Sequence[str],
    num_pairs: int | None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Runs | None, bool]:
    """Return code points with a barrier (0) around each segment, the weight of each, the cuts, and ``is_saturated``."""
    if num_pairs is None:
        return *_joined(strings_of(segments, held_out), weights_of(segments, held_out)), None, False
    given = weights_of(segments, ())
    runs = cut_rare(*_joined([*segments], given), code_points("\0".join(base_pieces)), num_pairs)
    totals = runs.totals(given[:, np.newaxis])[:, 0]
    weights = np.minimum(totals, MAX_WEIGHT).astype(np.int32)
    measured, unlearned = _joined(strings_of({}, held_out), weights_of({}, held_out))
    text = np.concatenate([runs.text, measured[1:]])
    weight = np.concatenate([spread(weights, runs.lengths), unlearned[1:]])
    return text, weight, runs, bool((totals > MAX_WEIGHT).any())


def _joined(
    strings: Sequence[str], weights: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the code points of strings with a barrier (0) around each, and the weight of each position."""
    text = code_points("\0".join(["", *strings, ""]))
    return text, spread(weights, np.fromiter(map(len, strings), np.int64, len(strings)))


def _string(symbols: npt.NDArray[Any]) -> str:
    """Return the string of code points."""
    return symbols.tobytes().decode("utf-32-le")
