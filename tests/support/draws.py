"""Training data of the tiny tokens, in short samples."""

from places import ALONE

from pretrain.data.batches import TrainingData
from pretrain.data.mixture import mixture


def short_samples(rounds, cache):
    """Return samples of 16 tokens, four a step."""
    return TrainingData(
        rounds, ALONE, seq_length=16, global_batch_size=4, micro_batch_size=4, eos_token_id=2, seed=0, cache=cache
    )


def draw(tokens, cache, *, mix=None, only=None, steps=12):
    shares = {s: share for s, share in mixture([tokens], mix or {}).items() if only in (None, s.domain)}
    return short_samples([(shares, steps)], cache)


def draw_of(config):
    """Return the data that a run by steps trains on."""
    from hanlm.tokens import open_tokens

    tokens = [open_tokens(path) for path in config.tokens]
    return TrainingData(
        [(mixture(tokens, config.mix), config.steps)],
        ALONE,
        seq_length=config.seq_length,
        global_batch_size=config.global_batch_size,
        micro_batch_size=config.micro_batch_size,
        eos_token_id=2,
        seed=config.seed,
        cache=config.out.with_name("draws"),
    )
