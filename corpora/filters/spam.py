"""Advertisements and spam, by what they say and by the contacts that they give."""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from corpora.facts import Facts, Reason, figure, named
from corpora.filters.term_index import TermIndex
from hanlm.errors import ConfigError, InputError

SPAM_TERMS: Final = Path(__file__).with_name("spam_terms.yaml")
"""The terms that are looked for, by kind and weight."""

_MAX_COUNT = 4  # of one term: a word that the subject of an article repeats proves nothing more
_CONTACT_WEIGHT = 3
_MAX_CONTACTS = 3
_MIN_CHARS = 100  # below, one word would be a high density
# A number, an account, or what masked it stands after the name of a way to be reached.
_CONTACT = re.compile(
    r"(?:加?(?:微信|薇信|威信|V信|VX|WX|wechat)|(?:QQ|Q群|扣扣)群?|电报|飞机|telegram|whatsapp|skype|咨询电话|订购电话"
    r"|联系电话|招商电话|加盟电话|热线|客服)(?:号码?|群)?\s{0,2}[:：+＋]?\s{0,2}(?=[\w<\[【])[A-Za-z0-9_<\[【-]{5,}",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spam:
    """Drops advertisements and pages of spam: reason ``spam``.

    The weights of the terms found (each at most 4 times) and of contacts given (微信, QQ, hotlines with a number) are
    added up; words of those who report on spam or forbid it (警方, 依法) weigh against. A document goes where the sum,
    its density and the number of distinct terms all are high.
    """

    terms: Path | None = None
    """YAML with kinds of terms, each a table of weight to a list of terms; None is ``SPAM_TERMS``."""
    min_score: float = 12.0
    """Least sum of weights."""
    min_score_per_1000_chars: float = 40.0
    """Least sum of weights for 1,000 visible characters (of at least 100)."""
    min_distinct: int = 4
    """Fewest distinct terms, a contact counting as one."""

    def __post_init__(self) -> None:
        if self.min_score <= 0 or self.min_score_per_1000_chars <= 0 or self.min_distinct < 1:
            raise ConfigError(
                "expected min_score > 0, min_score_per_1000_chars > 0 and min_distinct >= 1, got "
                f"{self.min_score}, {self.min_score_per_1000_chars} and {self.min_distinct}."
            )

    def score(self, text: str) -> tuple[float, int, dict[str, float]]:
        """Return the sum of weights, the number of distinct terms, and the sums of the kinds."""
        index, weights = _terms(self.terms or SPAM_TERMS)
        by_kind: defaultdict[str, float] = defaultdict(float)
        found = index.counts(text)
        num_distinct = 0
        for number, count in found.items():
            kind, weight = weights[number]
            by_kind[kind] += weight * min(count, _MAX_COUNT)
            num_distinct += weight > 0
        # Contacts alone are no spam, and looking for them costs as much as looking for all the terms.
        num_contacts = min(_MAX_CONTACTS, sum(1 for _ in _CONTACT.finditer(text))) if num_distinct else 0
        by_kind["contacts"] += _CONTACT_WEIGHT * num_contacts
        return sum(by_kind.values()), num_distinct + (num_contacts > 0), by_kind

    def __call__(self, facts: Facts, /) -> str | None:
        score, num_distinct, _ = self.score(facts.text)
        if score < self.min_score or num_distinct < self.min_distinct:
            return None
        density = 1000 * score / max(_MIN_CHARS, facts.num_visible)
        if density < self.min_score_per_1000_chars:
            return None
        return Reason(
            "spam",
            f"score {figure(score)}, limit {figure(self.min_score)}; for 1,000 characters {figure(density)}, limit "
            f"{figure(self.min_score_per_1000_chars)}; different terms {num_distinct}, limit {self.min_distinct}: "
            f"{named(self._heaviest(facts.text))}",
        )

    def _heaviest(self, text: str) -> list[str]:
        """Return the terms found, those that weigh most first."""
        index, weights = _terms(self.terms or SPAM_TERMS)
        sums = {
            index.terms[number]: weights[number][1] * min(count, _MAX_COUNT)
            for number, count in index.counts(text).items()
        }
        return sorted((term for term, weight in sums.items() if weight > 0), key=lambda term: (-sums[term], term))


@cache
def _terms(path: Path) -> tuple[TermIndex, list[tuple[str, float]]]:
    """Return the index of the terms in a file, and the kind and weight of each."""
    import yaml

    try:
        kinds = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = {
            str(term): (str(kind), float(weight))
            for kind, weights in kinds.items()
            for weight, terms in weights.items()
            for term in terms
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"expected kinds of terms, each a table of weight to a list, in {path}, got: {error}."
        ) from error
    index = TermIndex(rows)
    return index, [rows[term] for term in index.terms]
