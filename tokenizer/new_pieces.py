"""The new pieces that a configuration asks for: so many, as many as are advised, none, or those of another model."""

from hanlm.counts import by_reason
from hanlm.errors import InputError
from hanlm.log import say
from tokenizer.advice import MAX_ADVISED, Advice, advise
from tokenizer.base import Base
from tokenizer.cost import ModelShape, advised_shape
from tokenizer.count import CorpusCount
from tokenizer.extend import ExtendConfig
from tokenizer.measure import HeldOut
from tokenizer.merge import read_donor
from tokenizer.sample import Sample
from tokenizer.spm import SpmBase
from tokenizer.train_spm import train_spm
from tokenizer.vocabulary import Vocabulary, learn_vocabulary, merge_vocabulary, no_vocabulary


def new_pieces(
    config: ExtendConfig, base: Base, corpus: CorpusCount, held_out: HeldOut, workers: int
) -> tuple[Vocabulary, Advice | None]:
    """Return the new pieces, and the advice on their number; None where there are none, or they are merged.

    Args:
        config: What is asked for.
        base: What is extended.
        corpus: What is learned from.
        held_out: What is measured on.
        workers: Threads.

    Raises:
        InputError: If nothing is worth adding, or the base cannot be extended in this way.
    """
    if config.method == "merge-spm":
        return _merge(config, base, corpus, workers), None
    if config.num_new_tokens is None:
        return no_vocabulary(len(corpus.held_out)), None
    wanted = MAX_ADVISED if config.num_new_tokens == "auto" else config.num_new_tokens
    vocabulary = learn_vocabulary(
        base, corpus, config.pieces, config.prior, wanted, exponent=config.domain_exponent, workers=workers
    )
    found = len(vocabulary.pieces)
    advice = None
    if (shape := _shape(config, base)) is not None:
        advice = advise(base, corpus, vocabulary, shape, held_out, exhausted=found < wanted, workers=workers)
    if config.num_new_tokens == "auto":
        assert advice is not None
        say(" ".join(advice.explanation()))
        return vocabulary.cut(advice.recommended.num_new_tokens), advice
    if found < config.num_new_tokens:
        say(f"{found:,} tokens are added of the {wanted:,} asked for: corpus and lexicon hold no more that would help")
    return vocabulary.cut(found), advice


def _shape(config: ExtendConfig, base: Base) -> ModelShape | None:
    """Return what is advised for; None where a number was given and the model's costs are not known."""
    try:
        return advised_shape(base, config.advise_for)
    except InputError as error:
        if config.num_new_tokens == "auto" or config.advise_for is not None:
            raise
        say(f"no advice on the size: {error}")
        return None


def _merge(config: ExtendConfig, base: Base, corpus: CorpusCount, workers: int) -> Vocabulary:
    if not isinstance(base, SpmBase):
        raise InputError(
            f"--method merge-spm appends SentencePiece pieces, but {base.path} is byte-level; expected a base with "
            "a SentencePiece tokenizer.model: use the default method."
        )
    if config.spm is not None:
        donor = read_donor(config.spm)
    else:
        assert isinstance(config.num_new_tokens, int)
        donor = train_spm(
            config.corpus,
            config.spm_type,
            config.num_new_tokens,
            sample=Sample(shares=corpus.shares),
            seed=config.seed,
        )
    vocabulary = merge_vocabulary(
        base,
        corpus,
        donor,
        config.pieces,
        compatible=config.compatible,
        limit=None if config.num_new_tokens == "auto" else config.num_new_tokens,
        workers=workers,
    )
    left = by_reason({reason: len(pieces) for reason, pieces in vocabulary.left_out.items()})
    say(f"merged {len(vocabulary.pieces):,} pieces; left out {left}")
    return vocabulary
