"""What is checked of a forgetting budget before anything heavy starts."""

from collections.abc import Mapping, Sequence

from hanlm.errors import ConfigError
from hanlm.tokens import Tokens, TokenSet
from pretrain.watching.options import ForgettingOptions
from pretrain.watching.replay import share_of, speaks


def check_forgetting(
    options: ForgettingOptions,
    tokens: Sequence[Tokens],
    blends: Sequence[Mapping[TokenSet, float]],
    *,
    eval_tokens: int,
    num_evals: int,
) -> None:
    """Refuse a budget that could not be measured or held.

    Args:
        options: The budget.
        tokens: The tokens artifacts.
        blends: Shares of the training sets, for each stretch of the run.
        eval_tokens: Tokens that a validation scores.
        num_evals: Validations after the one before training.

    Raises:
        ConfigError: If the language is not validated, or not trained on beside others all the time.
    """
    if options.max_increase is None:
        return
    lang = options.lang
    if eval_tokens < 1 or num_evals < 1:
        raise ConfigError(
            "--forgetting.max-increase is checked at validations, but there are none; "
            f"give --eval-tokens and --num-evals, got {eval_tokens} and {num_evals}."
        )
    if not any(s.split == "valid" and s.num_documents and speaks(s, lang) for t in tokens for s in t.sets):
        raise ConfigError(
            f"--forgetting.max-increase needs validation texts in {lang}, but the tokens hold none; "
            "add some, or choose --forgetting.lang."
        )
    if any(not 0 < share_of(blend, lang) < 1 for blend in blends):
        raise ConfigError(
            f"--forgetting.max-increase needs training texts in {lang} beside others all the time, whose share can "
            "be raised; add some to the tokens and to the mix."
        )


def forgetting_plan(options: ForgettingOptions, num_evals: int) -> list[str]:
    """Return what a budget will do, in words."""
    if options.max_increase is None:
        return []
    return [
        f"keep {options.lang} within {options.max_increase:.1%} of its bits per byte before training, checked at "
        f"{num_evals} validations: {options.raise_factor:g} times its share (up to {options.max_share:.0%}) at most "
        f"{options.max_raises} times, else stop"
    ]
