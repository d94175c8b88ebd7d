"""The loops over characters and hashes, compiled. Arrays are given by the caller; nothing is allocated here.

``points`` are Unicode code points (uint32), ``folded`` is the table of ``corpora.dedup.letters``.
"""

# The compiler sees plain arrays and machine integers.
# pyright: reportMissingParameterType=false, reportUnknownParameterType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import numpy as np

from hanlm.jit import entry_jit, inner_jit

MERSENNE_61 = np.uint64((1 << 61) - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _61, _63 = (np.uint64(bits) for bits in (27, 30, 31, 61, 63))
_1, _64 = np.uint64(1), np.uint64(64)
_LARGEST = np.uint64(2**64 - 1)
_NEWLINE = 10


@inner_jit
def mix(x):
    """Return a well-spread hash of a 64-bit number: the finaliser of splitmix64 (Steele et al. 2014)."""
    x = np.uint64(x) + _GOLDEN
    x = (x ^ (x >> _30)) * _MIX_1
    x = (x ^ (x >> _27)) * _MIX_2
    return x ^ (x >> _31)


@inner_jit
def _ngrams(units, num_units, ngram, shingles):
    count = max(0, num_units - ngram + 1)
    for first in range(count):
        value = np.uint64(0)
        for at in range(first, first + ngram):
            value = (value ^ np.uint64(units[at])) * _GOLDEN
            value ^= value >> _31
        shingles[first] = mix(value)
    return count


@entry_jit
def char_shingles(points, folded, ngram, letters, shingles):
    """Hash every run of ``ngram`` letters; return how many there are."""
    num_letters = 0
    for point in points:
        letter = folded[point]
        if letter:
            letters[num_letters] = letter
            num_letters += 1
    return _ngrams(letters, num_letters, ngram, shingles)


@entry_jit
def word_shingles(points, word_lengths, folded, ngram, words, shingles):
    """Hash every run of ``ngram`` words; words without letters are passed over. Return how many runs there are."""
    num_words = start = 0
    for length in word_lengths:
        word = np.uint64(0)
        for at in range(start, start + length):
            letter = folded[points[at]]
            if letter:
                word = mix(word ^ np.uint64(letter))
        start += length
        if word:
            words[num_words] = word
            num_words += 1
    return _ngrams(words, num_words, ngram, shingles)


@entry_jit
def minhash(shingles, a, b, minima):
    """Fill ``minima`` with the least ``(shingle * a + b) mod 2**64 mod (2**61 - 1)``, for each pair of a and b.

    Four shingles at a time halve the loads and stores. The rest by the Mersenne prime needs no division:
    the three high bits are added to the low ones, and the prime is taken off where that reaches it (below it
    the unsigned difference wraps, and the least of both is the right one).
    """
    last = len(shingles) - 1
    for j in range(len(minima)):
        minima[j] = _LARGEST
    for i in range(0, last + 1, 4):
        s0, s1 = shingles[i], shingles[min(i + 1, last)]
        s2, s3 = shingles[min(i + 2, last)], shingles[min(i + 3, last)]
        for j in range(len(minima)):
            x0, x1, x2, x3 = s0 * a[j] + b[j], s1 * a[j] + b[j], s2 * a[j] + b[j], s3 * a[j] + b[j]
            x0 = (x0 & MERSENNE_61) + (x0 >> _61)
            x1 = (x1 & MERSENNE_61) + (x1 >> _61)
            x2 = (x2 & MERSENNE_61) + (x2 >> _61)
            x3 = (x3 & MERSENNE_61) + (x3 >> _61)
            x0, x1 = min(x0, x0 - MERSENNE_61), min(x1, x1 - MERSENNE_61)
            x2, x3 = min(x2, x2 - MERSENNE_61), min(x3, x3 - MERSENNE_61)
            minima[j] = min(minima[j], x0, x1, x2, x3)


@entry_jit
def line_hashes(points, folded, min_letters, hashes, starts, lengths):
    """Hash the letters of each line that has ``min_letters``; return how many such lines there are."""
    count = num_letters = start = 0
    value = np.uint64(0)
    for at in range(len(points) + 1):
        if at < len(points) and points[at] != _NEWLINE:
            letter = folded[points[at]]
            if letter:
                value = mix(value ^ np.uint64(letter))
                num_letters += 1
            continue
        if num_letters >= min_letters:
            hashes[count], starts[count], lengths[count] = value, start, at - start
            count += 1
        value, num_letters, start = np.uint64(0), 0, at + 1
    return count


@entry_jit
def winnow(points, window, width, hashes, chosen):
    """Hash each window of characters and choose at least one of every ``width`` windows in a row.

    Args:
        points: The text; of fewer than ``window + width - 1`` characters nothing is chosen.
        window: Characters in a window, at most 64.
        width: Windows in a row.
        hashes: Room for one hash a window; filled.
        chosen: Room for the positions of the chosen windows, in rising order.

    Returns:
        How many were chosen. Each is the least of some ``width`` windows in a row, so the choice hangs on the
        text of those windows alone. Among equal ones an earlier choice is kept while it is in reach: a long run
        of one character costs no more than other text ("robust winnowing").

    Source: Schleimer, Wilkerson, Aiken 2003, Winnowing; the rolling hash is the cyclic polynomial of Cohen 1997.
    """
    num_windows = len(points) - window + 1
    if num_windows < width:
        return 0
    rolling, leaving = np.uint64(0), np.uint64(window)
    count, best = 0, -1
    for end in range(len(points)):
        rolling = ((rolling << _1) | (rolling >> _63)) ^ mix(points[end])
        if end >= window:
            old = mix(points[end - window])
            rolling ^= old if leaving == _64 else (old << leaving) | (old >> (_64 - leaving))
        at = end - window + 1
        if at < 0:
            continue
        hashes[at] = mix(rolling)
        if at < width - 1:
            continue
        if best <= at - width:  # out of reach, or the first choice
            best = at - width + 1
            for i in range(best + 1, at + 1):
                if hashes[i] <= hashes[best]:
                    best = i
        elif hashes[at] < hashes[best]:
            best = at
        else:
            continue
        chosen[count] = best
        count += 1
    return count


@entry_jit
def unite(root, left, right):
    """Join the sets of ``left[i]`` and ``right[i]``: a disjoint-set forest whose root is the least member."""
    for i in range(len(left)):
        x, y = left[i], right[i]
        while root[x] != x:
            root[x] = root[root[x]]
            x = root[x]
        while root[y] != y:
            root[y] = root[root[y]]
            y = root[y]
        if x < y:
            root[y] = x
        elif y < x:
            root[x] = y


@entry_jit
def flatten(root):
    """Point every member at the least of its set; parents are smaller than children, so one pass does."""
    for i in range(len(root)):
        root[i] = root[root[i]]
