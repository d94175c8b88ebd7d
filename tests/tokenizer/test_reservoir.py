"""The sample of a corpus that new rows are fitted to."""

from tokenizer.reservoir import Reservoir


def test_everything_is_kept_where_it_fits():
    reservoir = Reservoir(num_windows=10, window_chars=5)
    for text in ("一二三", "四五", ""):
        reservoir.add(text)
    assert reservoir.texts == ["一二三", "四五", ""]


def test_a_domain_has_its_share_of_the_characters_wherever_it_stands():
    """One part in short texts, then one in long ones, then one in short ones again, of equal size."""
    reservoir = Reservoir(num_windows=300, window_chars=100)
    for letter, length in (("a", 100), ("b", 500), ("c", 100)):
        for _ in range(300_000 // length):
            reservoir.add(letter * length)
    text = "".join(reservoir.texts)
    assert len(text) == 30_000
    for letter in "abc":
        assert 0.23 < text.count(letter) / len(text) < 0.43


def test_the_same_texts_give_the_same_sample():
    samples = [Reservoir(num_windows=5, window_chars=10) for _ in range(2)]
    for sample in samples:
        for i in range(100):
            sample.add(f"{i}" * 20)
    assert samples[0].texts == samples[1].texts
