"""Characters, normalisation and the split by content."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlm import text


@pytest.mark.parametrize("char", "汉字一龥㐀𠀀〇々豈")
def test_a_han_character_counts_as_han(char: str):
    assert text.is_han(char)
    assert text.class_counts(char)["han"] == 1


@pytest.mark.parametrize("char", "aÉ1，。「あ한 \n，")
def test_what_is_not_han_does_not_count_as_han(char: str):
    assert not text.is_han(char)
    assert text.class_counts(char)["han"] == 0


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_class_table_agrees_with_the_pattern_and_counts_every_character_once(sample: str):
    counts = text.class_counts(sample)
    assert counts["han"] == len(text.HAN_PATTERN.findall(sample))
    assert sum(counts.values()) == len(sample)


def test_classes_of_mixed_text():
    counts = text.class_counts("汉字，OK 42!\néあ")
    assert counts == {"han": 2, "latin": 3, "digit": 2, "punctuation": 2, "space": 2, "other": 1}


def test_han_ratio_ignores_white_space_and_survives_emptiness():
    assert text.han_ratio("汉 字\nab") == 0.5
    assert text.han_ratio("") == text.han_ratio(" \n") == 0.0


def test_strong_and_weak_punctuation_are_disjoint_and_never_ascii():
    assert not text.CJK_PUNCTUATION & text.WEAK_PUNCTUATION
    assert not any(c.isascii() or text.is_han(c) for c in text.CJK_PUNCTUATION | text.WEAK_PUNCTUATION)


@given(st.text(st.sampled_from("汉a\u0301１Ａ\u3000\xa0 \t\r\n\x00\u200b\ufeff\x85\u2028，()（é\u2126")))
def test_normalise_is_idempotent_and_leaves_nothing_it_should_drop(sample: str):
    once = text.normalise(sample)
    assert text.normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not set(once) & set("\r\x00\u200b\ufeff\x85\u2028\u3000\xa0１Ａ")
    assert " \n" not in once
    assert "\n\n\n\n" not in once


@given(st.text())
def test_normalise_is_idempotent_on_any_text(sample: str):
    once = text.normalise(sample)
    assert text.normalise(once) == once


def test_normalise_keeps_chinese_punctuation_and_code_indentation():
    assert text.normalise("\ufeff　　他说：“好！”（２０２６年）\r\n  \r\n") == "他说：“好！”（2026年）"
    assert text.normalise("\n\n    def f():  \n\treturn 1\n\n\n\n\nx\n") == "    def f():\n\treturn 1\n\n\nx"


def test_the_held_out_share_is_the_fraction_asked_for():
    held_out = sum(text.in_valid_split(f"document {i}", 0.1) for i in range(20_000))
    assert 1_800 < held_out < 2_200


def test_the_split_hangs_on_the_normalised_content_alone():
    """The first 8 hex digits of the SHA-256 of "汉字" decide, whatever the line ends."""
    import hashlib

    share = int(hashlib.sha256("汉字".encode()).hexdigest()[:8], 16) / 2**32
    assert text.in_valid_split("汉字\r\n", share + 1e-9)
    assert not text.in_valid_split("汉字", share)


@pytest.mark.parametrize("tag", ["zh", "zh-Hant", "zh_CN", "ZH-cn", "zh_Hans_CN"])
def test_a_language_is_known_without_its_script_and_region(tag: str):
    assert text.base_language(tag) == "zh"
