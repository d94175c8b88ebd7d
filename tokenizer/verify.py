"""What must hold before a tokenizer is written: nothing dead, nothing changed, two forms that agree."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hanlm.errors import HanLMError
from tokenizer.base import Base
from tokenizer.forms import Forms
from tokenizer.pieces import has_strong

PROBE: Final = (
    "The quick brown fox jumps over the lazy dog; it's 7:45 p.m., isn't it? “Yes,” she said — quietly.",
    "  leading spaces,   inner    spaces,\ttabs and trailing ones   ",
    "def area(r: float) -> float:\n    return 3.14159 * r ** 2  # a comment\n\n\nprint(area(2))",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[n - i]; } /* done */",
    '{"id": 17, "tags": ["a", "b"], "ratio": 0.25, "url": "https://example.org/?q=x&y=1#top"}',
    "0 1 12 123 1234 12345 1,234,567.89 -40 °C 6.02e23 1/2 50% $9.99 €20 £5 №7 0xDEADBEEF 2024-02-29",
    "Où est l'été ? Größe, Straße, mañana, ação, Ðe, İstanbul, Łódź, naïve, coöperate",
    "Съешь ещё этих мягких французских булок, да выпей чаю. Ελληνικά: ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "שלום עולם مرحبا بالعالم سلام दुनिया สวัสดีชาวโลก გამარჯობა Բարեւ",
    "안녕하세요 세계 ひらがな カタカナ ﾊﾝｶｸ ٠١٢٣ ０１２３ＡＢＣａｂｃ",
    "emoji 😀👩‍👩‍👧‍👦🇨🇳 ✓ → ∑∫√∞ ≤≥ ½ ™ © \u00a0\u200b\ufeff\u3000 \ue000\U0010ffff",
    "a\u0000b \u0001\u001f\u007f \r\n \u2028 e\u0301 ﬁ Ⅳ ① ㎏",
)
"""Our own lines: prose, code, numbers, other scripts, signs, controls; none of it Chinese."""

CHINESE_PROBE: Final = (
    "中文和 English 混排，数字123也在；他说：“好的……”——然后离开了。",
    "　　全角空格开头。「繁體中文」『引號』（括號）【方頭】《書名》、頓號～",
    "龘靐齉爩 𠮷𡈽𪚥 〇々 㐀䶵 﨎 哈哈哈哈哈哈哈 。。。。。。 ！！！？？？",
    "f\u2329x\u232a 〈名〉 \u2329\u232a",
    "第 一 章  空 格   很 多\n\n\n换行\t制表。 End.",
    "行尾。\n下一行，\n\n空行”\n\n\n“的\r\n字面的。<0x0A>不是换行\n。\n\n",
)


class VerificationError(HanLMError):
    """The new tokenizer breaks a promise; nothing was written."""


@dataclass(slots=True)
class Verification:
    """Failures by kind (all zero in what is published), and how much was checked."""

    changed_tokens: int = 0
    """Old ids that spell something else now."""
    dead_tokens: int = 0
    changed_lines: int = 0
    sentencepiece_fast_mismatches: int = 0
    round_trip_failures: int = 0
    num_forms: int = 0
    """In how many forms the tokenizer is written, which must agree."""
    num_tokens_checked: int = 0
    num_foreign_lines: int = 0
    num_texts: int = 0
    num_chars: int = 0
    examples: list[str] = field(default_factory=list[str])
    """The first few failures, in words."""

    def failures(self) -> str:
        """Return what failed, counted in words; empty if nothing did."""
        failures = {
            "changed tokens": self.changed_tokens,
            "dead tokens": self.dead_tokens,
            "changed non-Chinese lines": self.changed_lines,
            "texts where SentencePiece and the fast tokenizer differ": self.sentencepiece_fast_mismatches,
            "round trips lost": self.round_trip_failures,
        }
        return ", ".join(f"{count} {name}" for name, count in failures.items() if count)

    def require_clean(self) -> None:
        """Raise ``VerificationError`` if anything failed."""
        if counts := self.failures():
            raise VerificationError(
                f"expected a tokenizer without a fault, got {counts} ({'; '.join(self.examples[:3])}); nothing was "
                "written. "
                + (
                    "A base whose pieces share one score (an earlier merge with score 0) cannot be extended: pass the "
                    "original base."
                    if self.sentencepiece_fast_mismatches
                    else "Check that the base's files are those that were published together."
                )
            )

    def as_report(self) -> dict[str, Any]:
        """Return the figures for ``vocab_report.json``."""
        return asdict(self)

    def note(self, kind: str, text: str) -> None:
        """Keep a failure as an example."""
        if len(self.examples) < 20:
            self.examples.append(f"{kind}: {text[:80]!r}")


def verify(
    base: Base, old: Forms, new: Forms, *, foreign_lines: Sequence[str], documents: Sequence[str], seed: int = 0
) -> Verification:
    """Check an extended tokenizer on the built-in probe, random strings, and text of the corpus.

    Args:
        base: What was extended.
        old: Its tokenizer.
        new: The extended one.
        foreign_lines: Lines without Han and CJK punctuation.
        documents: Any texts.
        seed: Of the random strings.
    """
    result = Verification()
    for token in range(base.num_tokens):
        if new.spelled(token) != old.spelled(token):
            result.changed_tokens += 1
            result.note("changed token", old.spelling(token))
    for token in new.dead(base.num_tokens):
        result.dead_tokens += 1
        result.note("dead", new.spelling(token))
    result.num_tokens_checked = new.num_tokens - base.num_tokens
    pieces = [new.spelled(token).decode("utf-8", "replace") for token in range(base.num_tokens, new.num_tokens, 7)]
    probe = [*PROBE, *random_strings(seed), *(" " * n + "x" for n in range(1, 40))]
    spelled = [token.content for token in base.added_tokens]
    foreign = [line for line in [*probe, *foreign_lines] if not has_strong(line)]
    texts = [*probe, *CHINESE_PROBE, *pieces, *foreign_lines, *documents]
    # A text that spells a special token follows transformers, which cuts it out; SentencePiece does not.
    texts = [text for text in texts if text and not any(token in text for token in spelled)]
    result.num_foreign_lines, result.num_texts = len(foreign), len(texts)
    result.num_chars = sum(map(len, texts))
    for line, a, b in zip(foreign, old.encode(foreign), new.encode(foreign), strict=True):
        if a != b:
            result.changed_lines += 1
            result.note("changed", line)
    _check_texts(result, old, new, texts)
    return result


def random_strings(seed: int, count: int = 300) -> list[str]:
    """Return strings of random code points, without Han, CJK punctuation and surrogates."""
    draw = random.Random(seed)
    ranges = ((0x20, 0x7E), (0x00, 0x24F), (0x370, 0x5FF), (0x900, 0xDFF), (0x2000, 0x2BFF), (0xAC00, 0xD7A3))
    ranges += ((0x3040, 0x30FF), (0xE000, 0xF8FF), (0x1F300, 0x1FAFF), (0x20, 0x10FFFF))

    def char(low: int, high: int) -> str:
        point = draw.randint(low, high)
        return " " if 0xD800 <= point <= 0xDFFF or has_strong(chr(point)) else chr(point)

    return ["".join(char(*draw.choice(ranges[: 1 + i % 10])) for _ in range(1 + i % 50)) for i in range(count)]


def _check_texts(result: Verification, old: Forms, new: Forms, texts: list[str]) -> None:
    old_ids, new_ids = old.encode(texts), new.encode(texts)
    others = [(form, form.encode(texts)) for form in new.others.values()]
    result.num_forms = 1 + len(others)
    for i, text in enumerate(texts):
        if any(ids[i] != new_ids[i] for _, ids in others):
            result.sentencepiece_fast_mismatches += 1
            result.note("mismatch", text)
        returned = [new.decode(new_ids[i]), *(form.decode(ids[i]) for form, ids in others)]
        if old.decode(old_ids[i]) == text and any(again != text for again in returned):
            result.round_trip_failures += 1
            result.note("round trip", text)
