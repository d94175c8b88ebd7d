"""How much of every training set a run sees."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hanlm.errors import ConfigError, InputError
from hanlm.text import base_language
from hanlm.tokens import Tokens, TokenSet
from pretrain.config import Phase

_EPOCH_SLACK = 1.01  # steps are whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Blend:
    """What a stretch of training is drawn from."""

    name: str
    """For people."""
    share: float
    """Share of all steps."""
    shares: Mapping[TokenSet, float]
    """Share of each training set, summing to 1."""


def blends(tokens: Sequence[Tokens], mix: Mapping[str, float]) -> tuple[Blend, ...]:
    """Return what training draws from, in order: by ``--mix`` where one is given, else by the tokens' own mix.

    Raises:
        ConfigError: If a mix does not fit the tokens.
        InputError: If there is nothing to train on.
    """
    own = [t.mix for t in tokens if t.mix is not None]
    if mix or not own:
        return (Blend(name="all", share=1.0, shares=mixture(tokens, mix)),)
    if len(tokens) > 1:
        raise ConfigError(
            "expected one tokens artifact where it has a mix of its own, which says nothing of the others; "
            "tokenize all corpora together, or pass --mix."
        )
    mixture(tokens, {})
    return tuple(_blend(tokens[0], phase) for phase in own[0]["phases"])


def _blend(tokens: Tokens, phase: Mapping[str, Any]) -> Blend:
    train = {s.path.name: s for s in tokens.sets if s.split == "train"}
    if unknown := sorted(phase["weights"].keys() - train.keys()):
        raise ConfigError(
            f"the mix of {tokens.path} names {', '.join(unknown)}, which it does not hold; make it again."
        )
    shares = {train[prefix]: weight for prefix, weight in phase["weights"].items()}
    return Blend(name=phase["name"], share=phase["share"], shares=shares)


def blend_steps(blended: Sequence[Blend], num_steps: int | None) -> list[int]:
    """Return how many of ``num_steps`` steps each blend lasts; borders are rounded, and the sum is kept.

    Raises:
        ConfigError: If there are several blends and the number of steps is not known.
    """
    if num_steps is None:
        raise ConfigError(
            "the tokens' mix has a curriculum, whose phases are shares of the steps; say --steps instead of --seconds, "
            "or pass --mix."
        )
    done, ends = 0.0, [0]
    for each in blended:
        done += each.share
        ends.append(round(done / sum(b.share for b in blended) * num_steps))
    return [end - begin for begin, end in pairwise(ends)]


def total_steps(phases: Sequence[Phase]) -> int | None:
    """Return how many steps a run takes, where all its phases say so."""
    return sum(p.steps or 0 for p in phases) if all(p.steps for p in phases) else None


def over_epochs(tokens: Tokens, blended: Sequence[Blend], num_tokens: int) -> dict[str, float]:
    """Return the sets that so many tokens of training repeat more often than the mix's ``max_epochs`` allow."""
    caps: Mapping[str, float] = (tokens.mix or {}).get("max_epochs", {})
    seen: dict[str, float] = {}
    for each in blended:
        for token_set, weight in each.shares.items():
            epochs = each.share * weight * num_tokens / token_set.num_tokens
            seen[token_set.path.name] = seen.get(token_set.path.name, 0.0) + epochs
    return {name: epochs for name, epochs in seen.items() if epochs > caps.get(name, math.inf) * _EPOCH_SLACK}


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
