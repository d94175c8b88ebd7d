"""What a run yields, and what the report finds in it: computed once, told as keys and as a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizer.advice import Advice
from tokenizer.base import Base
from tokenizer.compare import BASE, EXTENDED, NamedTokenizer, of_forms
from tokenizer.count import CorpusCount
from tokenizer.coverage import single_tokens
from tokenizer.forms import Forms
from tokenizer.lexicon_only import lexicon_warning, num_lexicon_only
from tokenizer.measure import ComparedMeasure, HeldOut, Measure, measure_compared
from tokenizer.pruned_base import PrunedBase
from tokenizer.usage import Usage, counted_texts, usage
from tokenizer.verify import Verification
from tokenizer.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Result:
    """Everything the report tells."""

    base: Base
    """What was extended; where tokens were dropped, the base without them."""
    old: Forms
    """The base as it was given: what the report compares with."""
    new: Forms
    corpus: CorpusCount
    vocabulary: Vocabulary
    verification: Verification
    held_out: HeldOut
    measure: Measure | None
    """None where no text was given to measure on."""
    advice: Advice | None
    """None where the pieces were swapped in or merged from another model."""
    num_requested: int | None
    """None where all that fit were asked for."""
    num_rows: int | None
    """Rows of the model's vocabulary matrices, padding included; None without a model."""
    num_original: int | None
    """Tokens before the base was extended for the first time; None where it never was."""
    quarantined: Mapping[str, int]
    pruned: PrunedBase | None = None
    """What was dropped before anything was added."""
    compared: Sequence[NamedTokenizer] = ()
    """Other tokenizers that the extended one is compared with."""

    @property
    def names(self) -> tuple[str, str]:
        """What the report calls the tokenizer before and after."""
        if self.pruned is None:
            return BASE, EXTENDED
        return "base as given", "pruned, extended" if self.vocabulary.pieces else "pruned"


@dataclass(frozen=True, slots=True)
class Findings:
    """The tokenizers side by side, and what the new tokens are worth."""

    tokenizers: list[NamedTokenizer]
    """The base as it was given, the extended one, and those compared with."""
    compared: list[ComparedMeasure]
    """Of those compared with, in their order."""
    single_chars: list[frozenset[str]]
    """The characters that are one token, of each tokenizer."""
    usage: Usage
    num_lexicon_only: int | None
    """New tokens that the text counted for ``usage`` has no part in; None where that is a sample of the corpus."""

    @property
    def warning(self) -> str | None:
        """What to tell where the corpus is small for so many tokens."""
        return lexicon_warning(self.num_lexicon_only, self.usage)

    @property
    def base(self) -> NamedTokenizer:
        """Return the base."""
        return self.tokenizers[0]

    @property
    def extended(self) -> NamedTokenizer:
        """Return the extended tokenizer."""
        return self.tokenizers[1]


def findings(result: Result) -> Findings:
    """Run every tokenizer over the held-out text, and count the new tokens' uses there and in training text."""
    before, after = result.names
    base = of_forms(before, result.base.path, result.old)
    extended = of_forms(after, result.base.path, result.new)
    tokenizers = [base, extended, *result.compared]
    first = result.base.num_tokens
    uses = usage(base, extended, first, counted_texts(result.corpus, result.base.plain))
    is_learned = bool(result.vocabulary.gains)  # merged pieces come from another model, not from a lexicon
    return Findings(
        tokenizers=tokenizers,
        compared=[measure_compared(result.held_out, tokenizer) for tokenizer in result.compared],
        single_chars=[single_tokens(tokenizer.spelling) for tokenizer in tokenizers],
        usage=uses,
        num_lexicon_only=num_lexicon_only(uses, result.new.merge_parents(first)) if is_learned else 0,
    )
