"""Where learning begins on a byte-level base: the segments' bytes, already cut into the base's own tokens."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tokenizer import bpe_kernels as kernels
from tokenizer.byte_alphabet import byte_of_char, bytes_of, continuation, is_strong, spelled, strong_chars, unfinished
from tokenizer.pieces import SEPARATOR, SPACE, Pieces, class_table
from tokenizer.start import MAX_TOKEN_SYMBOLS, Start, code_points, empty_state, enter, spread, strings_of, weights_of

MAX_PIECE_BYTES = 48
"""Sixteen Chinese characters."""


def start_from_bytes(
    segments: Mapping[str, int],
    held_out: Sequence[Sequence[str]],
    pieces: Pieces,
    vocabulary: Sequence[str],
    encode: Callable[[Sequence[str]], tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]],
    num_new: int,
) -> Start:
    """Return the start for a byte-level base.

    Args:
        segments: Pre-token in the byte alphabet -> weight in 1/WEIGHT_UNIT.
        held_out: Pre-tokens per domain that are tokenized but not learned from.
        pieces: What new pieces may hold.
        vocabulary: The base's tokens in the byte alphabet, best rank first.
        encode: Pre-tokens -> indices into ``vocabulary``, as the base itself merges them, and how many each has.
        num_new: The most pieces that will be added.
    """
    strings = strings_of(segments, held_out)
    symbols = _bytes_array("".join(strings))
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    order, first = _strong_last([bytes_of(token) or b"" for token in vocabulary])
    index_of = np.empty(len(order), np.int32)
    index_of[order] = np.arange(len(order), dtype=np.int32)
    ids, tokens_per_string = encode(strings)
    tokens = index_of[ids]
    base = [bytes_of(vocabulary[i]) or b"" for i in order]
    sizes = np.fromiter(map(len, base), np.int64, len(base))[tokens]
    text, weight = _with_barriers(symbols, lengths), spread(weights_of(segments, held_out), lengths)
    state = empty_state(text, weight, len(base), num_new, max(1, len(held_out)), MAX_PIECE_BYTES)
    _lay(state, tokens, sizes, tokens_per_string, _classes(symbols, pieces))
    state = state._replace(strong_char=strong_chars())
    for token, data in enumerate(base):
        _describe(state, token, data, is_strong=token >= first)
    state.tok_known[: len(base)] = True
    state.n[kernels.ACTIVE] = first
    return Start(state, first, len(base), _spell)


def _strong_last(tokens: Sequence[bytes]) -> tuple[list[int], int]:
    """Return the tokens' indices, those that are not Chinese first, and how many those are."""
    flags = [is_strong(data) for data in tokens]
    weak = [i for i, flag in enumerate(flags) if not flag]
    return weak + [i for i, flag in enumerate(flags) if flag], len(weak)


def _bytes_array(spelling: str) -> npt.NDArray[np.int32]:
    table = np.zeros(0x200, np.int32)
    for char, byte in byte_of_char().items():
        table[char] = byte
    return table[code_points(spelling)]


def _with_barriers(values: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return the values of segments with a barrier before each and after the last."""
    result = np.zeros(values.size + lengths.size + 1, np.int32)
    result[_positions(lengths)] = values
    return result


def _positions(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where, among barriers, the symbols of segments of these lengths stand."""
    return np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(np.arange(1, lengths.size + 1), lengths)


def _classes(symbols: npt.NDArray[np.int32], pieces: Pieces) -> npt.NDArray[np.uint8]:
    """Return the class of the character that each byte belongs to."""
    text = symbols.astype(np.uint8).tobytes().decode("utf-8")
    table = class_table(pieces).copy()
    table[ord(" ")], table[ord(SPACE)] = table[ord(SPACE)], SEPARATOR
    points = code_points(text)
    num_bytes = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    return np.repeat(table[points], num_bytes)


def _lay(
    state: kernels.State,
    tokens: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
    tokens_per_string: npt.NDArray[np.int64],
    classes: npt.NDArray[np.uint8],
) -> None:
    """Write the base's tokens into the state; a token that touches a separator, or is too long, is a barrier."""
    ends = np.cumsum(sizes)
    starts = ends - sizes
    # Before the first token of string k stand k + 1 barriers.
    shift = np.repeat(np.arange(1, tokens_per_string.size + 1), tokens_per_string)
    usable = np.minimum.reduceat(classes, starts) != SEPARATOR if tokens.size else np.zeros(0, np.bool_)
    usable &= sizes <= MAX_TOKEN_SYMBOLS
    tok = np.full(state.text.size, kernels.BARRIER, np.int32)
    inside = np.repeat(np.where(usable, kernels.INSIDE, kernels.BARRIER), sizes)
    tok[np.arange(int(ends[-1]) if tokens.size else 0) + np.repeat(shift, sizes)] = inside
    tok[(starts + shift)[usable]] = tokens[usable]
    state.end_len[(ends - 1 + shift)[usable]] = sizes[usable]
    state.tok[:] = tok


def _describe(state: kernels.State, token: int, data: bytes, *, is_strong: bool) -> None:
    """Fill in what the kernels know of a token of the base."""
    symbols = np.frombuffer(data, np.uint8).astype(np.int32)
    if is_strong and 1 < len(data) <= MAX_TOKEN_SYMBOLS:
        enter(state, token, symbols)
    else:
        state.tok_hash[token] = kernels.string_hash(symbols, np.int64(0), np.int64(symbols.size))
        state.tok_len[token] = len(data)
    state.tok_strong[token] = is_strong
    opened = unfinished(data)
    if len(opened) < 3 and not is_strong:
        state.tok_open[token] = int.from_bytes(opened, "big") if opened[:1] < b"\xf0" else 0
    state.tok_close[token] = int.from_bytes(continuation(data), "big")


def _spell(symbols: npt.NDArray[np.int32]) -> str:
    return spelled(symbols.astype(np.uint8).tobytes())
