"""Forgetting control: a budget for what a language may lose, kept by showing more of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hanlm.errors import InputError
from hanlm.text import base_language
from hanlm.tokens import TokenSet
from pretrain.evaluate import Validation
from pretrain.watching.options import ForgettingOptions
from pretrain.watching.replay import Raise, raised_shares, share_of

_SMALLEST_RAISE = 1e-6  # shares are sums of fractions


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a validation led to."""

    step: int
    verdict: Literal["held", "raised", "not held"]
    lang: str
    bits_per_byte: float
    before_training: float
    increase: float
    """Relative rise over the figure before training."""
    max_increase: float
    share_before: float
    share: float
    """Share of the language in the training data from this step on."""
    num_raises: int

    @property
    def sentence(self) -> str:
        """The decision in words."""
        fact = (
            f"{self.lang} takes {self.bits_per_byte:.3f} bits per byte, {self.increase:+.1%} on "
            f"{self.before_training:.3f} before training (budget {self.max_increase:+.1%})"
        )
        if self.verdict == "raised":
            return f"{fact}: its share of the data rises from {self.share_before:.1%} to {self.share:.1%}"
        if self.verdict == "held":
            return fact
        times = "once" if self.num_raises == 1 else f"{self.num_raises} times"
        tried = f"though its share of the data was raised {times}, to" if self.num_raises else "and its share is"
        return f"{fact}, {tried} {self.share:.1%}"


class Forgetting:
    """Holds the budget of one language; its decisions are part of a checkpoint.

    Args:
        options: The budget.
        validation: What is measured.
    """

    def __init__(self, options: ForgettingOptions, validation: Validation) -> None:
        self._options = options
        self._bytes = {
            f"valid/{lang}/{domain}": size
            for (lang, domain), size in zip(validation.names, validation.num_bytes, strict=True)
            if options.lang in (lang, base_language(lang))
        }
        self.raises: tuple[Raise, ...] = ()
        self._before: dict[str, float] = {}
        self._is_over = False

    def judge(self, step: int, validation: Mapping[str, float], shares: Mapping[TokenSet, float]) -> Decision | None:
        """Return what follows from a validation; a raise is added to ``raises``.

        Args:
            step: Steps done.
            validation: ``valid/LANG/DOMAIN`` in bits per byte.
            shares: The shares at this step.
        """
        self._before = self._before or dict(validation)  # kept without a budget too: one may be set on resuming
        self._is_over = False
        if self._options.max_increase is None:
            return None
        bits, before = self._bits(validation), self._bits(self._before)
        increase = bits / before - 1
        share = share_of(shares, self._options.lang)
        after, verdict = share, "held"
        if increase > self._options.max_increase:
            options = self._options
            one = Raise(step=step, lang=options.lang, factor=options.raise_factor, max_share=options.max_share)
            after = share_of(raised_shares(shares, [one]), options.lang)
            verdict = "not held"
            if len(self.raises) < options.max_raises and after > share + _SMALLEST_RAISE:
                verdict = "raised"
                self.raises = (*self.raises, one)
        self._is_over = verdict == "not held"
        return Decision(
            step=step,
            verdict=verdict,
            lang=self._options.lang,
            bits_per_byte=bits,
            before_training=before,
            increase=increase,
            max_increase=self._options.max_increase,
            share_before=share,
            share=share if verdict == "not held" else after,
            num_raises=len(self.raises),
        )

    def _bits(self, validation: Mapping[str, float]) -> float:
        return sum(validation[name] * size for name, size in self._bytes.items()) / sum(self._bytes.values())

    @property
    def is_over(self) -> bool:
        """Whether the last validation was over the budget with no raise left."""
        return self._is_over

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep."""
        return {"raises": [asdict(r) for r in self.raises], "before": self._before, "is_over": self._is_over}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.raises = tuple(Raise(**each) for each in state["raises"])
        self._before, self._is_over = state["before"], state["is_over"]


def not_held(decision: Decision) -> InputError:
    """Return the error that ends a run whose budget cannot be held."""
    return InputError(
        f"the forgetting budget cannot be held: {decision.sentence}. Stopped after step {decision.step}, "
        "which is saved; run the command again with a larger --forgetting.max-increase, --forgetting.max-share or "
        "--forgetting.max-raises to go on, or start anew with a lower --lr or more of this language in the mix."
    )
