"""Uses are counted part by part as they are in all, in memory that does not grow with the number of parts."""

import tracemalloc
from random import Random

import numpy as np
import pytest

from tokenizer.learn import WEIGHT_UNIT, learn
from tokenizer.piece_uses import piece_uses
from tokenizer.start import start_from_characters

NUM_PARTS = 64


@pytest.mark.parametrize("num_pairs", [None, 60])
def test_many_parts_are_counted_as_each_alone_and_take_little_more_memory(num_pairs: int | None):
    random = Random(0)
    segments = sorted({"".join(random.choices("天地玄黄宇宙洪荒日月", k=8)) for _ in range(20_000)})
    weighted = dict.fromkeys(segments, WEIGHT_UNIT)
    learned = learn(start_from_characters(weighted, (), "han", "天地", (), 30, num_pairs=num_pairs), sizes=[30])
    parts = [{s: random.randint(1, 9) for s in segments[i::NUM_PARTS]} for i in range(NUM_PARTS)]
    piece_uses(learned, segments, parts[:1])  # compiles
    few, many = (peak_bytes(learned, segments, some) for some in (parts[:8], parts))
    assert many < 1.2 * few
    used = piece_uses(learned, segments, parts)
    assert used.shape == (30, NUM_PARTS)
    for i in (0, 7, 8, 63):
        assert (used[:, i] == piece_uses(learned, segments, [parts[i]])[:, 0]).all()
    together = {s: n for part in parts for s, n in part.items()}
    assert (used.sum(axis=1) == piece_uses(learned, segments, [together])[:, 0]).all()
    assert np.count_nonzero(used) > 15 * NUM_PARTS


def peak_bytes(learned, segments, parts) -> int:
    tracemalloc.start()
    piece_uses(learned, segments, parts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
