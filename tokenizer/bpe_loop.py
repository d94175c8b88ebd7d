"""The compiled loop of continued BPE: seed the candidates, apply the base's pieces, add the best until done."""

from typing import Any

import numpy as np

from hanlm.jit import entry_jit, inner_jit
from tokenizer.bpe_heap import heap_drop_top, heap_push
from tokenizer.bpe_kernels import (
    ACTIVE,
    BASE_DONE,
    COUNT,
    FIRST,
    FLOOR,
    HEAD,
    LENGTH,
    NUM_CANDIDATES,
    NUM_FIELDS,
    NUM_HEAP,
    NUM_NEW,
    NUM_RECORDS,
    NUM_TOUCHED,
    PENDING,
    SEEDED,
    SPARE,
    STAMP,
    add_occurrence,
    add_pair,
    find,
    merge_at,
    pair_key,
    string_hash,
)

DONE, NEEDS_ROOM = 0, -1

_SEED_CHUNK = 1 << 18


@inner_jit
def lacks_room(s: Any, spare: Any) -> Any:
    """Say whether ``spare`` more candidates, records and heap entries would not fit."""
    candidates = s.n[NUM_CANDIDATES] + spare
    s.n[SPARE] = spare
    return (
        candidates > s.gain.size
        or spare > s.touched.size
        or 2 * candidates > s.table.size // 2
        or s.n[NUM_RECORDS] + spare > s.records.size // 2
        or s.n[NUM_HEAP] + spare > s.heap_gain.size
    )


@inner_jit
def begin_step(s: Any) -> None:
    """Forget which candidates the last step touched."""
    s.n[NUM_TOUCHED] = 0
    s.n[STAMP] += 1


@inner_jit
def extra_bytes(code_point: Any) -> Any:
    """Return how many tokens a character saves that was spelled in bytes: its UTF-8 length less one."""
    return np.int64(code_point >= 0x80) + (code_point >= 0x800) + (code_point >= 0x10000)


@inner_jit
def seed_candidates(s: Any) -> Any:
    """Register every missing character and every pair of neighbours of the text."""
    while s.n[SEEDED] < s.text.size - 1:
        if lacks_room(s, 2 * _SEED_CHUNK):
            return NEEDS_ROOM
        begin_step(s)
        last = min(s.n[SEEDED] + _SEED_CHUNK, s.text.size - 1)
        for p in range(s.n[SEEDED], last):
            token = s.tok[p]
            if token < 0:
                continue
            if not s.tok_known[token] and s.tok_strong[token]:
                gain = max(np.int64(s.weight[p]), np.int64(0)) * extra_bytes(s.text[p])
                add_occurrence(s, s.tok_hash[token], p, 1, gain)
            add_pair(s, p, token, s.tok[p + s.tok_len[token]])
        s.n[SEEDED] = last
    return DONE


@inner_jit
def collect_positions(s: Any, candidate: Any) -> Any:
    """Put the positions where a candidate was ever registered, ascending, into ``s.positions``; return how many."""
    count, positions = s.meta[candidate * NUM_FIELDS + COUNT], s.positions
    record = s.meta[candidate * NUM_FIELDS + HEAD]
    for i in range(count):
        positions[i] = s.records[2 * record]
        record = s.records[2 * record + 1]
    # Positions come in few ascending runs, one for each step that added some: Shell's sort is quick on those.
    gap = count // 2
    while gap > 0:
        for i in range(gap, count):
            value, j = positions[i], i
            while j >= gap and positions[j - gap] > value:
                positions[j] = positions[j - gap]
                j -= gap
            positions[j] = value
        gap = 1 if gap == 2 else gap * 5 // 11
    return count


@inner_jit
def apply_piece(s: Any, candidate: Any, piece: Any) -> None:
    """Merge a candidate's occurrences, leftmost first, into the token ``piece``."""
    begin_step(s)
    key = s.tok_hash[piece]
    for i in range(collect_positions(s, candidate)):
        p = np.int64(s.positions[i])
        left = s.tok[p]
        if left < 0:
            continue
        right = s.tok[p + s.tok_len[left]]
        if right >= 0 and s.tok_len[left] + s.tok_len[right] == s.tok_len[piece] and pair_key(s, left, right) == key:
            merge_at(s, p, piece)


@inner_jit
def apply_character(s: Any, candidate: Any) -> None:
    """Take a missing character into the vocabulary: from now on it pairs with its neighbours."""
    begin_step(s)
    count = collect_positions(s, candidate)
    char = s.tok[s.positions[0]]
    s.tok_known[char] = True
    for i in range(count):
        start = np.int64(s.positions[i])
        before = start - s.end_len[start - 1]
        add_pair(s, before, s.tok[before], char)
        if s.tok[start + 1] != char:  # a doubled character is counted from its right half
            add_pair(s, start, char, s.tok[start + 1])
        if s.weight[start] < 0:
            s.saved[-s.weight[start] - 1] += extra_bytes(s.text[start])


@inner_jit
def push_touched(s: Any) -> None:
    """Push the candidates whose gain the last step raised, unless they lie below the heap's floor."""
    for i in range(s.n[NUM_TOUCHED]):
        candidate = np.int64(s.touched[i])
        if s.gain[candidate] >= s.n[FLOOR]:
            heap_push(s, s.gain[candidate], candidate)


@inner_jit
def refill(s: Any) -> Any:
    """Fill the empty heap with the candidates of at least an eighth of the old floor.

    Most candidates never come near the top; keeping them out until the heap runs dry keeps it small.
    """
    floor = max(s.min_gain, s.n[FLOOR] // 8)
    count = 0
    for candidate in range(s.n[NUM_CANDIDATES]):
        count += s.gain[candidate] >= floor
    if lacks_room(s, count):
        return NEEDS_ROOM
    s.n[FLOOR] = floor
    for candidate in range(s.n[NUM_CANDIDATES]):
        if s.gain[candidate] >= floor:
            heap_push(s, s.gain[candidate], candidate)
    return DONE


@inner_jit
def choose(s: Any) -> Any:
    """Make the candidate with the largest gain the pending one; -1 when none reaches ``min_gain``."""
    while True:
        while s.n[NUM_HEAP] > 0:
            gain, candidate = s.heap_gain[0], np.int64(s.heap_candidate[0])
            heap_drop_top(s)
            if gain == s.gain[candidate]:
                s.n[PENDING] = candidate
                return DONE
            if s.n[FLOOR] <= s.gain[candidate] < gain:
                heap_push(s, s.gain[candidate], candidate)
        if s.n[FLOOR] <= s.min_gain:
            s.n[PENDING] = -1
            return DONE
        if refill(s) == NEEDS_ROOM:
            return NEEDS_ROOM


@entry_jit
def add_token(s: Any, token: Any, key: Any, length: Any) -> None:
    """Enter a piece of several characters into the vocabulary."""
    slot = find(s.vocab, key)
    s.vocab[2 * slot] = key
    s.vocab[2 * slot + np.uint64(1)] = np.uint64(token + 1)
    s.tok_hash[token], s.tok_len[token] = key, length
    s.tok_strong[token] = s.tok_known[token] = True


@inner_jit
def apply_base(s: Any, first: Any, last: Any) -> Any:
    """Merge the base's own pieces, ids ``first`` to ``last``, in order of rank."""
    while first + s.n[BASE_DONE] < last:
        piece = first + s.n[BASE_DONE]
        slot = find(s.table, s.tok_hash[piece])
        if s.table[2 * slot + np.uint64(1)] != 0:
            candidate = np.int64(s.table[2 * slot + np.uint64(1)]) - 1
            if lacks_room(s, 2 * s.meta[candidate * NUM_FIELDS + COUNT]):
                return NEEDS_ROOM
            s.n[ACTIVE] = piece + 1
            apply_piece(s, candidate, piece)
            s.gain[candidate] = -1
        s.n[ACTIVE] = piece + 1
        s.n[BASE_DONE] += 1
    return DONE


@inner_jit
def add_pending(s: Any) -> None:
    """Add the pending candidate to the vocabulary and apply it everywhere."""
    candidate = s.n[PENDING]
    at, new = candidate * NUM_FIELDS, s.n[NUM_NEW]
    length, start = np.int64(s.meta[at + LENGTH]), np.int64(s.meta[at + FIRST])
    s.new_first[new], s.new_length[new], s.new_gain[new] = start, length, s.gain[candidate]
    s.n[NUM_NEW] += 1
    if length == 1:
        apply_character(s, candidate)
    else:
        piece = s.n[ACTIVE]
        add_token(s, piece, string_hash(s.text, start, length), length)
        s.n[ACTIVE] += 1
        apply_piece(s, candidate, piece)
    s.gain[candidate] = s.n[PENDING] = -1
    push_touched(s)


@entry_jit
def seed(s: Any, first: Any, last: Any) -> Any:
    """Register all candidates and merge the base's own pieces; call again with more room while it lacks some."""
    if seed_candidates(s) == NEEDS_ROOM or apply_base(s, first, last) == NEEDS_ROOM:
        return NEEDS_ROOM
    return DONE


@entry_jit
def add_given(s: Any, keys: Any, lengths: Any) -> Any:
    """Add pieces by their hashes, in this order, until all are added or room is lacking."""
    while s.n[NUM_NEW] < keys.size:
        if s.n[PENDING] < 0:
            key, length = keys[s.n[NUM_NEW]], lengths[s.n[NUM_NEW]]
            slot = find(s.table, key)
            if s.table[2 * slot + np.uint64(1)] == 0:  # it does not occur
                if length > 1:
                    add_token(s, s.n[ACTIVE], key, length)
                    s.n[ACTIVE] += 1
                s.n[NUM_NEW] += 1
                continue
            s.n[PENDING] = np.int64(s.table[2 * slot + np.uint64(1)]) - 1
        if lacks_room(s, 2 * s.meta[s.n[PENDING] * NUM_FIELDS + COUNT]):
            return NEEDS_ROOM
        add_pending(s)
    return DONE


@entry_jit
def add_pieces(s: Any, num_new: Any) -> Any:
    """Add the best pieces until there are ``num_new``, or no candidate is left, or room is lacking."""
    while s.n[NUM_NEW] < num_new:
        if s.n[PENDING] < 0:
            if choose(s) == NEEDS_ROOM:
                return NEEDS_ROOM
            if s.n[PENDING] < 0:
                return DONE
        if lacks_room(s, 2 * s.meta[s.n[PENDING] * NUM_FIELDS + COUNT]):
            return NEEDS_ROOM
        add_pending(s)
    return DONE
