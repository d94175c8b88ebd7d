"""How many tokens to add: what a character costs at every size of the vocabulary, and which size to take.

A larger vocabulary spells a character in fewer tokens and makes every token dearer. Both sides come from one run: each
prefix of the learned pieces is a vocabulary whose tokens on held-out text are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import starmap
from typing import Any, Final, Literal

from tokenizer.base import Base
from tokenizer.cost import TRAINING_BYTES, ModelShape
from tokenizer.count import CorpusCount
from tokenizer.measure import HeldOut
from tokenizer.occurrences import rare_shares
from tokenizer.vocabulary import Vocabulary

TOLERANCE: Final = 0.01
"""How far above the least cost a smaller vocabulary may lie."""
MIN_OCCURRENCES: Final = 100
"""What a new token needs in the training text for its rows to be learned rather than left as they were initialised."""
MAX_RARE_SHARE: Final = 0.2
"""Of the new tokens. A lexicon's words and the last characters are rare at any size, so some must be allowed."""
TEXT_CHARS: Final = 2000
"""Length of the text that attention is reckoned on: a page. Attention is 2% of a 7B model's operations there."""

MAX_ADVISED: Final = 50_000
"""Largest size that ``auto`` looks at; LLaMA's vocabulary and as many Chinese tokens are less than Llama-3's."""

_MAX_LISTED = 40
_COSTS: Final = ("training_flops_per_char", "inference_bytes_per_char")

RULE: Final = (
    f"Of the sizes at which at most {MAX_RARE_SHARE:.0%} of the new tokens occur fewer than {MIN_OCCURRENCES} times in "
    f"the corpus, take the smallest whose cost per character is within {TOLERANCE:.0%} of the least, both in training "
    "and in generation; where none is, the one whose worse cost is nearest its least."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """One size of the vocabulary, and what a character of Chinese costs with it."""

    num_new_tokens: int
    tokens_per_char: dict[str, float]
    """By domain."""
    tokens_per_char_overall: float
    """All Chinese domains together: what the costs are reckoned with."""
    training_flops_per_char: float
    inference_bytes_per_char: float
    rare_share: float
    """Of the new tokens, how many occur fewer than ``MIN_OCCURRENCES`` times in the corpus."""
    training_memory_bytes: int
    """Of the new rows, with gradients and Adam's state."""
    inference_memory_bytes: int
    """Of the new rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """Which size to take, and why."""

    shape: ModelShape
    num_base_tokens: int
    base: Size
    sizes: list[Size]
    """Ascending; the base's own is not among them."""
    recommended: Size
    by_cost: Size
    """What costs alone would recommend."""
    exhausted: bool
    """Whether the corpus held no more pieces than the largest size has."""

    @property
    def bound_by(self) -> Literal["cost", "corpus", "largest size"]:
        """What a larger recommendation would need: a larger model, more text, or that more sizes are looked at."""
        if self.by_cost.num_new_tokens > self.recommended.num_new_tokens or (self.still_falling and self.exhausted):
            return "corpus"
        return "largest size" if self.still_falling else "cost"

    @property
    def still_falling(self) -> bool:
        """Whether the largest size looked at is the cheapest."""
        return any(_least(self.sizes, cost) is self.sizes[-1] for cost in _COSTS)

    def relative(self, size: Size) -> tuple[float, float]:
        """Return a size's cost of training and of generation, the base's being 1."""
        training, inference = (getattr(size, cost) / getattr(self.base, cost) for cost in _COSTS)
        return training, inference

    def listed(self) -> list[Size]:
        """Return sizes enough to draw a curve: the base's, every so many, those that are spoken of and the last."""
        step = -(-len(self.sizes) // _MAX_LISTED)
        named = [self.recommended, self.by_cost, self.sizes[-1]]
        kept = {s.num_new_tokens: s for s in [self.base, *self.sizes[::step], *named]}
        return [kept[n] for n in sorted(kept)]

    def explanation(self) -> list[str]:
        """Return the recommendation and its reasons in plain sentences."""
        best, (training, inference) = self.recommended, self.relative(self.recommended)
        sentences = [
            f"Recommended: {best.num_new_tokens:,} new tokens, {self.num_base_tokens + best.num_new_tokens:,} in all. "
            f"A character of Chinese text then takes {best.tokens_per_char_overall:.3f} tokens instead of "
            f"{self.base.tokens_per_char_overall:.3f}. Training the model {self.shape.name} on a character costs "
            f"{training:.0%} of what it costs with the base's tokens, and generating one {inference:.0%}."
        ]
        if best.rare_share > MAX_RARE_SHARE:
            sentences.append(
                "This corpus is too small to judge by: even at this size, the smallest that was looked at, "
                f"{best.rare_share:.0%} of the new tokens occur fewer than {MIN_OCCURRENCES} times in it, too seldom "
                "to be learned from it. With more text more tokens could be right."
            )
        elif self.by_cost.num_new_tokens > best.num_new_tokens:
            cheaper, _ = self.relative(self.by_cost)
            sentences.append(
                f"By costs alone {self.by_cost.num_new_tokens:,} would be right (training at {cheaper:.0%}), but "
                f"{self.by_cost.rare_share:.0%} of those occur fewer than {MIN_OCCURRENCES} times in this corpus, too "
                "seldom to be learned from it: more text allows more tokens."
            )
        else:
            excess = max(getattr(best, cost) / getattr(_least(self.sizes, cost), cost) for cost in _COSTS) - 1
            sentences.append(f"At no other size that was looked at is either cost more than {excess:.1%} lower.")
        if self.still_falling and self.by_cost is best:
            why = "which is all that this corpus holds" if self.exhausted else "the largest size that was looked at"
            sentences.append(f"Costs still fall at {self.sizes[-1].num_new_tokens:,}, {why}: more could be right.")
        return sentences

    def as_report(self) -> dict[str, Any]:
        """Return the key ``advice`` of ``vocab_report.json``."""
        return {
            "recommended_num_new_tokens": self.recommended.num_new_tokens,
            "explanation": self.explanation(),
            "rule": RULE,
            "bound_by": self.bound_by,
            "recommended_by_cost_alone": self.by_cost.num_new_tokens,
            "cheapest_in_training": _least(self.sizes, "training_flops_per_char").num_new_tokens,
            "cheapest_in_inference": _least(self.sizes, "inference_bytes_per_char").num_new_tokens,
            "model": asdict(self.shape) | {"num_body_params": self.shape.num_body_params},
            "sizes": [
                asdict(size) | dict(zip(("training_relative", "inference_relative"), self.relative(size), strict=True))
                for size in self.listed()
            ],
        }


def advise(
    base: Base,
    corpus: CorpusCount,
    vocabulary: Vocabulary,
    shape: ModelShape,
    held_out: HeldOut,
    *,
    exhausted: bool = False,
    workers: int = 1,
) -> Advice:
    """Reckon costs at every size the vocabulary noted, and recommend one.

    Args:
        base: What is extended.
        corpus: What was learned from.
        vocabulary: The pieces, of which each prefix is a vocabulary.
        shape: The model whose costs count.
        held_out: What is measured on.
        exhausted: Whether the corpus held no more pieces.
        workers: Threads.
    """
    shares = rare_shares(base, corpus, vocabulary.pieces, MIN_OCCURRENCES, workers)

    def size(num_new: int, num_tokens: Mapping[str, int]) -> Size:
        num_rows, overall = max(shape.num_rows, base.num_tokens + num_new), held_out.overall_per_char(num_tokens)
        num_params = shape.num_row_params(num_rows - shape.num_rows)
        num_context = TEXT_CHARS * overall / 2  # of a text the mean token sees half
        return Size(
            num_new_tokens=num_new,
            tokens_per_char=held_out.per_char(num_tokens),
            tokens_per_char_overall=overall,
            training_flops_per_char=overall * shape.training_flops(num_rows, num_context),
            inference_bytes_per_char=overall * shape.decoded_bytes(num_rows, num_context),
            rare_share=float(shares[num_new]),
            training_memory_bytes=TRAINING_BYTES * num_params,
            inference_memory_bytes=shape.item_bytes * num_params,
        )

    unextended, *sizes = starmap(size, held_out.along(vocabulary).items())
    return Advice(
        shape=shape,
        num_base_tokens=base.num_tokens,
        base=unextended,
        sizes=sizes,
        recommended=recommend([s for s in sizes if s.rare_share <= MAX_RARE_SHARE] or sizes[:1]),
        by_cost=recommend(sizes),
        exhausted=exhausted,
    )


def recommend(sizes: Sequence[Size]) -> Size:
    """Return the smallest of ascending sizes that is nearly as cheap as any, in training and in generation."""
    least = [getattr(_least(sizes, cost), cost) for cost in _COSTS]
    excess = [max(getattr(size, cost) / low for cost, low in zip(_COSTS, least, strict=True)) for size in sizes]
    allowed = max(1 + TOLERANCE, min(excess))
    return next(size for size, above in zip(sizes, excess, strict=True) if above <= allowed)


def _least(sizes: Sequence[Size], cost: str) -> Size:
    return min(sizes, key=lambda size: getattr(size, cost))
