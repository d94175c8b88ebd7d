"""The order of training: every row as often as asked, like lengths together, the same for a seed."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sft.order import training_order


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=200),
    epochs=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
)
def test_every_epoch_shows_every_row_once(lengths: list[int], epochs: int, batch_size: int, seed: int):
    order = training_order(lengths, [0] * len(lengths), [1.0], epochs=epochs, batch_size=batch_size, seed=seed)
    for epoch in range(epochs):
        shown = order[epoch * len(lengths) : (epoch + 1) * len(lengths)]
        assert sorted(shown) == list(range(len(lengths)))


def test_rows_repeat_by_the_file_they_come_from():
    sources = [0] * 100 + [1] * 100 + [2] * 100
    order = training_order([5] * 300, sources, [3.0, 0.25, 0.0], epochs=2, batch_size=4, seed=1)
    shown = Counter(sources[i] for i in order)
    assert shown[0] == 600
    assert 25 < shown[1] < 75
    assert shown[2] == 0


def test_half_an_epoch_shows_half_the_rows_each_once():
    order = training_order([5] * 100, [0] * 100, [1.0], epochs=0.5, batch_size=4, seed=1)
    assert len(order) == len(set(order)) == 50


def test_a_batch_holds_rows_of_like_length_and_batches_are_not_sorted():
    lengths = [int(n) for n in np.random.default_rng(0).integers(10, 400, 2048)]
    order = training_order(lengths, [0] * 2048, [1.0], epochs=1, batch_size=16, seed=0)
    batches = [[lengths[i] for i in order[k : k + 16]] for k in range(0, 2048, 16)]
    padded = sum(max(batch) * 16 for batch in batches)
    assert padded < 1.05 * sum(lengths)
    longest = [max(batch) for batch in batches]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.3


def test_the_padding_of_every_epoch_is_as_small_as_that_of_the_first():
    lengths = [int(n) for n in np.random.default_rng(0).integers(10, 400, 1003)]
    order = training_order(lengths, [0] * 1003, [1.0], epochs=5, batch_size=16, seed=0)
    batches = [[lengths[i] for i in order[k : k + 16]] for k in range(0, len(order), 16)]
    for epoch in range(5):
        of_epoch = batches[epoch * 1003 // 16 : (epoch + 1) * 1003 // 16]
        shown = sum(sum(batch) for batch in of_epoch)
        padded = sum(max(batch) * len(batch) for batch in of_epoch)
        assert padded < 1.06 * shown


def test_the_seed_decides_the_order():
    orders = [training_order([5] * 50, [0] * 50, [1.0], epochs=2, batch_size=4, seed=seed) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:50] != orders[0][50:]
