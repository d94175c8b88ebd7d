"""Which share of every training set a run sees."""

import dataclasses

import pytest

from hanlm.errors import ConfigError
from hanlm.tokens import open_tokens
from pretrain.data.mixture import mixture, steps_of_one_pass


def retagged(tokens, **langs):
    """Return a tokens artifact whose domains have other languages."""
    opened = open_tokens(tokens)
    return dataclasses.replace(
        opened, sets=tuple(dataclasses.replace(s, lang=langs.get(s.domain, s.lang)) for s in opened.sets)
    )


def by_domain(shares):
    return {s.domain: share for s, share in shares.items()}


def test_a_language_gets_its_share_and_spreads_it_by_tokens(tiny_tokens):
    shares = mixture([open_tokens(tiny_tokens)], {"zh": 3, "en": 1})
    by_lang = {lang: sum(w for s, w in shares.items() if s.lang == lang) for lang in ("zh", "en")}
    assert by_lang == pytest.approx({"zh": 0.75, "en": 0.25})
    zh = {s.domain: (w, s.num_tokens) for s, w in shares.items() if s.lang == "zh"}
    assert zh["news"][0] / zh["review"][0] == pytest.approx(zh["news"][1] / zh["review"][1])


def test_a_weight_for_chinese_covers_its_scripts_and_regions(tiny_tokens):
    plain = mixture([open_tokens(tiny_tokens)], {"zh": 0.8, "en": 0.2})
    tagged = mixture([retagged(tiny_tokens, news="zh-Hans", review="zh_TW", docs="en-GB")], {"zh": 0.8, "en": 0.2})
    assert by_domain(tagged) == by_domain(plain)


def test_a_script_with_a_weight_of_its_own_is_not_covered(tiny_tokens):
    tokens = retagged(tiny_tokens, news="zh-Hans", review="zh-Hant")
    shares = mixture([tokens], {"zh-Hant": 0.5, "zh": 0.3, "en": 0.2})
    assert by_domain(shares) == pytest.approx({"review": 0.5, "news": 0.3, "docs": 0.2})


@pytest.mark.parametrize(
    "mix", [{"zh": 1}, {"zh": 1, "en": 1, "fr": 1}, {"zh": -1, "en": 2}, {"zh": 0, "en": 0}, {"zh-Hant": 1, "en": 1}]
)
def test_a_mixture_that_does_not_fit_the_tokens_is_refused(tiny_tokens, mix):
    with pytest.raises(ConfigError, match="--mix"):
        mixture([open_tokens(tiny_tokens)], mix)


def test_a_pass_over_the_tokens_takes_whole_steps(tiny_tokens):
    shares = mixture([open_tokens(tiny_tokens)], {})
    num_tokens = sum(s.num_tokens for s in shares)
    steps = steps_of_one_pass(shares, seq_length=16, global_batch_size=4)
    assert (steps - 1) * 16 * 4 < num_tokens <= steps * 16 * 4
    assert steps_of_one_pass(shares, seq_length=num_tokens, global_batch_size=4) == 1
