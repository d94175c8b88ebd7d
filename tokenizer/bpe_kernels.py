"""The compiled heart of continued BPE: a linked list of tokens, candidates by string, a lazy max-heap.

The text is one array of code points, its segments parted by barriers. ``tok[p]`` is the token that starts at
``p`` (``BARRIER``, or ``INSIDE`` a token); ``end_len[p]`` is the length of the token that ends at ``p``: together
they are a doubly linked list in five bytes a character. A candidate is a string, known by its 64-bit hash,
whatever its split: exactly what SentencePiece merges. Token ids run in order of rank: characters, then the
base's longer pieces, then new ones; so the smaller id merges first.

All arrays of a run travel in one ``State``. Compiled code never allocates: it stops when it needs more room and
its caller makes a State with larger arrays. (Growing inside doubled the time to compile.)
"""

from typing import Any, NamedTuple

import numpy as np

from hanlm.jit import entry_jit, inner_jit

BARRIER, INSIDE = -1, -2
HASH_BASE = np.uint64(0x9E3779B97F4A7C15)
_SLOT_MIX = np.uint64(0xFF51AFD7ED558CCD)

# Where each counter of ``State.n`` lives.
NUM_CANDIDATES, NUM_RECORDS, NUM_HEAP, NUM_TOUCHED, FLOOR, ACTIVE, STAMP = range(7)
SEEDED, BASE_DONE, NUM_NEW, PENDING, SPARE, NUM_COUNTERS = range(7, 13)
# Fields of a candidate in ``State.meta``.
HEAD, TAIL, FIRST, LENGTH, TOUCHED_AT, COUNT, NUM_FIELDS = range(7)


class State(NamedTuple):
    """Every array of one learning run (types for numba are fixed by ``start.empty_state``)."""

    text: Any  # int32 [chars]: code points, on byte-level bases bytes; 0 at barriers
    weight: Any  # int32 [chars]: >= 0 how often the segment counts; < 0: held out, -(domain + 1)
    tok: Any  # int32 [chars]
    end_len: Any  # uint8 [chars]
    tok_hash: Any  # uint64 [tokens]
    tok_len: Any  # int32 [tokens]
    tok_strong: Any  # bool [tokens]
    tok_known: Any  # bool [tokens]: in the vocabulary (a missing character is not)
    tok_open: Any  # int32 [tokens]: of a byte token, the one or two bytes of an unfinished character at its end
    tok_close: Any  # int32 [tokens]: of a byte token, the first two continuation bytes that it begins with
    strong_char: Any  # bool [2 ** 16]: the strong code points; empty where symbols are characters
    power: Any  # uint64 [256]: HASH_BASE ** length
    vocab: Any  # uint64 [2 * slots]: hash, token id + 1
    table: Any  # uint64 [2 * slots]: hash, candidate + 1
    gain: Any  # int64 [candidates]
    meta: Any  # int32 [candidates * fields]
    records: Any  # int32 [2 * records]: position, next record
    heap_gain: Any  # int64 [heap]
    heap_candidate: Any  # int32 [heap]
    touched: Any  # int32 [candidates touched in this step]
    positions: Any  # int32 [occurrences of the candidate at hand]
    saved: Any  # int64 [domains]: tokens saved so far on held-out text
    new_first: Any  # int32 [new pieces]: where in the text each first stands
    new_length: Any  # int32 [new pieces]: its characters
    new_gain: Any  # int64 [new pieces]: what it saved when it was added
    n: Any  # int64 [counters]
    max_chars: Any  # int64
    min_gain: Any  # int64


@inner_jit
def find(table: Any, key: Any) -> Any:
    """Return the slot of a key in an open-addressing table, or of the free slot where it belongs."""
    mask = np.uint64(table.size // 2 - 1)
    slot = ((key ^ (key >> np.uint64(29))) * _SLOT_MIX >> np.uint64(20)) & mask
    while table[2 * slot + np.uint64(1)] != 0 and table[2 * slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@entry_jit
def char_hash(code_point: Any) -> Any:
    """Return the hash of a single character (the finaliser of SplitMix64)."""
    z = (np.uint64(code_point) + np.uint64(1)) * HASH_BASE
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@entry_jit
def string_hash(text: Any, start: Any, length: Any) -> Any:
    """Return the polynomial hash of a string, the one that ``pair_key`` composes."""
    total = np.uint64(0)
    for i in range(start, start + length):
        total = total * HASH_BASE + char_hash(text[i])
    return total


@inner_jit
def pair_key(s: Any, left: Any, right: Any) -> Any:
    """Return the hash of two tokens' concatenation."""
    return s.tok_hash[left] * s.power[s.tok_len[right]] + s.tok_hash[right]


@inner_jit
def known_piece(s: Any, key: Any) -> Any:
    """Return the id of the vocabulary's piece with this hash, else -1."""
    return np.int64(s.vocab[2 * find(s.vocab, key) + np.uint64(1)]) - 1


@entry_jit
def rehash(old: Any, new: Any) -> None:
    """Enter every key of one table into a larger empty one."""
    for i in range(old.size // 2):
        if old[2 * i + 1] != 0:
            slot = find(new, old[2 * i])
            new[2 * slot] = old[2 * i]
            new[2 * slot + np.uint64(1)] = old[2 * i + 1]


@inner_jit
def completes(s: Any, left: Any, right: Any) -> Any:
    """Say whether two byte tokens, neither strong by itself, together begin a character that must be strong.

    For characters of three bytes alone: longer ones join once they are strong.
    """
    opened, closing = np.int64(s.tok_open[left]), np.int64(s.tok_close[right])
    if opened == 0 or closing == 0:
        return False
    if opened < 0x100 and closing < 0x100:  # two bytes of three: strong if every third byte makes it so
        first = (opened & 0x0F) << 12 | (closing & 0x3F) << 6
        return s.strong_char[first : first + 64].all()
    if opened < 0x100:
        point = (opened & 0x0F) << 12 | (closing >> 8 & 0x3F) << 6 | closing & 0x3F
    else:
        third = closing if closing < 0x100 else closing >> 8
        point = (opened >> 8 & 0x0F) << 12 | (opened & 0x3F) << 6 | third & 0x3F
    return s.strong_char[point]


@inner_jit
def may_join(s: Any, left: Any, right: Any) -> Any:
    """Say whether two neighbours' concatenation may become a new piece; it begins where a character does."""
    return (
        s.tok_known[left]
        and s.tok_close[left] == 0
        and s.tok_known[right]
        and s.tok_len[left] + s.tok_len[right] <= s.max_chars
        and (s.tok_strong[left] or s.tok_strong[right] or completes(s, left, right))
    )


@inner_jit
def add_occurrence(s: Any, key: Any, position: Any, length: Any, gain: Any) -> None:
    """Count one more occurrence of a candidate; the caller has made room."""
    slot = find(s.table, key)
    record = s.n[NUM_RECORDS]
    s.n[NUM_RECORDS] += 1
    s.records[2 * record] = position
    s.records[2 * record + 1] = -1
    if s.table[2 * slot + np.uint64(1)] == 0:
        candidate = s.n[NUM_CANDIDATES]
        s.n[NUM_CANDIDATES] += 1
        s.table[2 * slot] = key
        s.table[2 * slot + np.uint64(1)] = np.uint64(candidate + 1)
        at = candidate * NUM_FIELDS
        s.meta[at + HEAD], s.meta[at + FIRST], s.meta[at + LENGTH] = record, position, length
        s.meta[at + TOUCHED_AT], s.meta[at + COUNT] = -1, 0
    else:
        candidate = np.int64(s.table[2 * slot + np.uint64(1)]) - 1
        at = candidate * NUM_FIELDS
        s.records[2 * s.meta[at + TAIL] + 1] = record
    s.meta[at + TAIL] = record
    s.meta[at + COUNT] += 1
    s.gain[candidate] += gain
    if s.meta[at + TOUCHED_AT] != s.n[STAMP]:
        s.meta[at + TOUCHED_AT] = s.n[STAMP]
        s.touched[s.n[NUM_TOUCHED]] = candidate
        s.n[NUM_TOUCHED] += 1


@inner_jit
def add_pair(s: Any, position: Any, left: Any, right: Any) -> None:
    """Count a pair of neighbours that has just come to be."""
    if left < 0 or right < 0 or not (s.tok_known[left] and s.tok_known[right]):
        return
    key = pair_key(s, left, right)
    # A piece of the base whose turn is still to come is registered whatever its characters.
    if may_join(s, left, right) or known_piece(s, key) >= s.n[ACTIVE]:
        gain = max(np.int64(s.weight[position]), np.int64(0))
        add_occurrence(s, key, position, s.tok_len[left] + s.tok_len[right], gain)


@inner_jit
def drop_pair(s: Any, position: Any, left: Any, right: Any) -> None:
    """Uncount a pair of neighbours that is about to vanish."""
    if left < 0 or right < 0 or s.weight[position] <= 0 or not may_join(s, left, right):
        return
    slot = find(s.table, pair_key(s, left, right))
    if s.table[2 * slot + np.uint64(1)] != 0:
        s.gain[np.int64(s.table[2 * slot + np.uint64(1)]) - 1] -= s.weight[position]


@inner_jit
def active_join(s: Any, left: Any, right: Any) -> Any:
    """Return the piece that two neighbours merge into at once, or a number above every id."""
    if left >= 0 and right >= 0 and s.tok_known[left] and s.tok_known[right]:
        piece = known_piece(s, pair_key(s, left, right))
        if 0 <= piece < s.n[ACTIVE]:
            return piece
    return np.int64(1) << 40


@inner_jit
def join(s: Any, start: Any, middle: Any, piece: Any) -> None:
    """Replace the tokens at ``start`` and ``middle`` by one."""
    s.tok[start] = piece
    s.tok[middle] = INSIDE
    s.end_len[start + s.tok_len[piece] - 1] = s.tok_len[piece]
    if s.weight[start] < 0:
        s.saved[-s.weight[start] - 1] += 1


@inner_jit
def merge_at(s: Any, start: Any, piece: Any) -> None:
    """Merge the two tokens at ``start`` into ``piece``, and whatever that makes mergeable at once.

    New neighbours whose concatenation is already in the vocabulary outrank everything left, so SentencePiece
    would merge them next: the better rank first, the left one in a tie.
    """
    none = np.int64(1) << 40
    middle = start + s.tok_len[s.tok[start]]
    after = middle + s.tok_len[s.tok[middle]]
    before = start - s.end_len[start - 1]
    drop_pair(s, start, s.tok[before], s.tok[start])
    drop_pair(s, start, s.tok[middle], s.tok[after])
    join(s, start, middle, piece)
    while True:
        current = s.tok[start]
        before, after = start - s.end_len[start - 1], start + s.tok_len[current]
        left = active_join(s, s.tok[before], current)
        right = active_join(s, current, s.tok[after])
        if left == none and right == none:
            break
        if left <= right:
            drop_pair(s, start, s.tok[before - s.end_len[before - 1]], s.tok[before])
            join(s, before, start, left)
            start = before
        else:
            drop_pair(s, start, s.tok[after], s.tok[after + s.tok_len[s.tok[after]]])
            join(s, start, after, right)
    add_pair(s, before, s.tok[before], s.tok[start])
    add_pair(s, start, s.tok[start], s.tok[after])
