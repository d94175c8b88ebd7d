"""Settings of the step ``score``: a learned judgement of likeness to a sample of good text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hanlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """What good text looks like, and how much unlike it a document may be.

    Of ``min_score``, ``keep_fraction`` and ``keep_good_fraction`` exactly one is given.
    """

    good: tuple[Path, ...] = ()
    """Files or folders of good documents, a few hundred at least."""
    bad: tuple[Path, ...] = ()
    """Files or folders of bad documents for the classifier; without them a sample of the corpus itself stands in."""
    method: Literal["classifier", "perplexity"] = "classifier"
    """``classifier`` tells good from bad; ``perplexity`` knows the good alone."""
    min_score: float | None = None
    """Least score: for the classifier a probability of being good, for perplexity minus the bits per character."""
    keep_fraction: float | None = None
    """Choose the least score so that this share of a sample of the corpus is kept."""
    keep_good_fraction: float | None = None
    """Choose the least score so that this share of the good documents held out of training is kept."""
    langs: tuple[str, ...] = ("zh",)
    """Languages that are scored: those of the good documents. Others pass."""

    def __post_init__(self) -> None:
        if not self.good and (self.bad or self.num_limits):
            raise ConfigError("the step score learns from good documents; name them as `score: {good: [PATH, …]}`.")
        if self.good and self.num_limits != 1:
            raise ConfigError(
                "expected one of min_score, keep_fraction and keep_good_fraction in `score`, "
                f"got {self.num_limits}; keep_good_fraction: 0.9 is a careful start."
            )
        for name in ("keep_fraction", "keep_good_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"expected {name} of `score` above 0 and up to 1, got {value}.")
        lowest, highest = (0.0, 1.0) if self.method == "classifier" else (-100.0, 0.0)
        if self.min_score is not None and not lowest <= self.min_score <= highest:
            raise ConfigError(
                f"expected min_score of `score` from {lowest:g} to {highest:g} for the method {self.method}, "
                f"got {self.min_score}."
            )
        if self.method == "perplexity" and self.bad:
            raise ConfigError("perplexity learns from good documents alone; leave `bad` out or choose the classifier.")

    @property
    def num_limits(self) -> int:
        """How many of the three ways to choose the least score are given."""
        return sum(value is not None for value in (self.min_score, self.keep_fraction, self.keep_good_fraction))
