"""``--prune --num-new-tokens``: pieces that take the places of tokens that the corpus never uses."""

from hanlm.log import say
from tokenizer.count import CorpusCount
from tokenizer.extend import ExtendConfig
from tokenizer.pruned_base import SpareTokens
from tokenizer.vocabulary import Vocabulary, learn_vocabulary


def swapped_pieces(
    config: ExtendConfig, spare: SpareTokens, corpus: CorpusCount, workers: int
) -> tuple[Vocabulary, SpareTokens]:
    """Return new pieces, and the tokens that can be dropped, at least as many as there are pieces.

    The pieces are those of the base without the first so many of these tokens. Where learning finds fewer, or finds a
    token that was dropped (the lexicon has words that the corpus never uses), such tokens stay, with the rows that
    they have, and it begins again.

    Args:
        config: What is asked for.
        spare: What the corpus can do without.
        corpus: What is learned from.
        workers: Threads.

    Raises:
        InputError: If nothing can be swapped.
    """
    assert isinstance(config.num_new_tokens, int)
    number = config.num_new_tokens
    while True:
        number = min(number, len(spare.order))
        dropped = spare.order[:number]
        base = spare.base.without(dropped)
        learned = learn_vocabulary(
            base, corpus, config.pieces, config.prior, number, exponent=config.domain_exponent, workers=workers
        )
        vocabulary = learned.cut(len(learned.pieces))
        new = vocabulary.on(base, workers)
        found = {new.spelled(token) for token in range(base.num_tokens, new.num_tokens)}
        if again := found & {spare.old.spelled(token) for token in dropped}:
            spare = spare.keeping(again)
        elif len(vocabulary.pieces) == number:
            break
        number = len(vocabulary.pieces)
    if number < config.num_new_tokens:
        say(f"{number:,} tokens are swapped of the {config.num_new_tokens:,} asked for: no more can go, or would help")
    return vocabulary, spare
