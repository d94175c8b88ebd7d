"""How much of every training set a run sees."""

from collections.abc import Mapping, Sequence

from hanlm.errors import ConfigError, InputError
from hanlm.text import base_language
from hanlm.tokens import Tokens, TokenSet


def mixture(tokens: Sequence[Tokens], mix: Mapping[str, float]) -> dict[TokenSet, float]:
    """Return the share of each training set: a language's share is spread over its sets by their tokens.

    Args:
        tokens: The tokens artifacts.
        mix: Weight of each language; empty means by tokens throughout. A language such as ``zh`` stands for its
            scripts and regions (``zh-Hans``, ``zh-TW``) too, except for those that have a weight of their own.

    Raises:
        ConfigError: If a language is unknown, left out, or a weight is not positive.
        InputError: If there is nothing to train on.
    """
    train = [s for t in tokens for s in t.sets if s.split == "train" and s.num_tokens]
    if not train:
        raise InputError("the tokens hold no training documents; check `hanlm corpus build`'s validation share.")
    names = {s.lang: s.lang if s.lang in mix or not mix else base_language(s.lang) for s in train}
    sizes = dict.fromkeys(names.values(), 0)
    for each in train:
        sizes[names[each.lang]] += each.num_tokens
    weights = dict(mix) or {name: float(size) for name, size in sizes.items()}
    if set(weights) != set(sizes):
        raise ConfigError(
            f"--mix must give each language of the tokens a weight ({', '.join(sorted(names))}; zh stands for zh-Hans "
            f"and the like too) and no other, got {', '.join(sorted(weights))}."
        )
    if any(w < 0 for w in weights.values()) or not sum(weights.values()):
        raise ConfigError(f"--mix needs weights that are not negative and not all zero, got {dict(mix)}.")
    total = sum(weights.values())
    shares = {s: weights[names[s.lang]] / total * s.num_tokens / sizes[names[s.lang]] for s in train}
    return {s: share for s, share in shares.items() if share > 0}


def steps_of_one_pass(shares: Mapping[TokenSet, float], *, seq_length: int, global_batch_size: int) -> int:
    """Return in how many steps about as many tokens are seen as there are; at least one."""
    return -(-sum(s.num_tokens for s in shares) // (seq_length * global_batch_size))
