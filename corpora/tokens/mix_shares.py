"""Mixes resolved: from what a person asks for to the share and the epochs of each data set in each phase."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from corpora.tokens.mixes import ALL, Mix
from hanlm.errors import ConfigError
from hanlm.text import base_language

type Shares = dict[str, float]

_TOLERANCE = 1e-9


def resolve(mix: Mix, datasets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the manifest's ``mix``: for each phase the weight and the epochs of each training set.

    Args:
        mix: What was asked for.
        datasets: The manifest's ``datasets``.

    Returns:
        ``total_tokens``, ``max_epochs`` by prefix, ``capped`` (prefixes that get less than their weight), and
        ``phases``: name, share, weights and epochs by prefix. Weights sum to 1 in each phase.

    Raises:
        ConfigError: If a name fits nothing, a data set has no weight, or the caps leave too few tokens.
    """
    train = {d["prefix"]: d for d in sorted(datasets, key=lambda d: d["prefix"]) if d["split"] == "train"}
    sizes = {prefix: int(d["num_tokens"]) for prefix, d in train.items() if d["num_tokens"]}
    total = float(mix.total_tokens or sum(sizes.values()))
    named = _assign(list(mix.max_epochs.keys() - {ALL}), train, "max_epochs")
    caps = {p: mix.max_epochs.get(named.get(p, ALL), mix.max_epochs.get(ALL, math.inf)) for p in sizes}
    left = {p: caps[p] * n for p, n in sizes.items()}
    phases: list[dict[str, Any]] = []
    capped: set[str] = set()
    for name, share, part in mix.phases():
        tokens = share * total
        weights, short = _shares(part, train, sizes, {p: left[p] / tokens for p in sizes}, name)
        capped |= short
        left = {p: max(0.0, left[p] - weights.get(p, 0.0) * tokens) for p in sizes}
        epochs = {p: w * tokens / sizes[p] for p, w in weights.items()}
        phases.append({"name": name, "share": share, "weights": weights, "epochs": epochs})
    told = {p: cap for p, cap in caps.items() if math.isfinite(cap)}
    return {"total_tokens": round(total), "max_epochs": told, "capped": sorted(capped), "phases": phases}


def _shares(
    mix: Mix, train: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int], room: Shares, phase: str
) -> tuple[Shares, set[str]]:
    """Return each data set's share of one phase, and those that get less than they would without caps.

    First every name gets its share, then the data sets of a name share it: so one of them that is capped leaves
    its part to those of the same name first.
    """
    owner = _owners(mix, train)
    members: dict[str, list[str]] = {}
    for prefix in sizes:
        members.setdefault(owner[prefix], []).append(prefix)
    by_size = {p: n ** (1 / mix.temperature) for p, n in _relative(sizes).items()}
    has_room = {name: math.fsum(room[p] for p in prefixes) for name, prefixes in members.items()}
    replay = {name: min(share, has_room[name]) for name, share in sorted(mix.replay.items())}
    rest = {name: mix.weights.get(name, math.fsum(by_size[p] for p in of)) for name, of in members.items()}
    rest = {name: weight for name, weight in rest.items() if name not in replay}
    wanted = 1 - math.fsum(replay.values())
    shares = replay | fill(wanted, rest, has_room)
    if (missing := 1 - math.fsum(shares.values())) > _TOLERANCE:
        raise ConfigError(
            f"mix, phase {phase}: max_epochs leaves {1 - missing:.1%} of the tokens that it should have; raise "
            "max_epochs, lower total_tokens, or give weight to more sources."
        )
    split = {p: s for name, of in members.items() for p, s in _split(shares[name], of, by_size, room).items()}
    free = {p: s for name, of in members.items() for p, s in _split(_free(mix, rest, name), of, by_size, {}).items()}
    total = math.fsum(split.values())
    weights = {p: split[p] / total for p in sorted(split) if split[p] > 0}
    return weights, {p for p in sizes if split[p] < free[p] - _TOLERANCE}


def _free(mix: Mix, rest: Shares, name: str) -> float:
    """Return the share that a name would have without caps."""
    if name in mix.replay:
        return mix.replay[name]
    return (1 - math.fsum(mix.replay.values())) * rest[name] / math.fsum(rest.values())


def _split(share: float, prefixes: Sequence[str], by_size: Shares, room: Shares) -> Shares:
    return fill(share, {p: by_size[p] for p in prefixes}, room)


def fill(total: float, weights: Mapping[str, float], room: Mapping[str, float]) -> Shares:
    """Divide ``total`` by weights, none beyond its room; what one cannot take goes to the others by their weights.

    Returns:
        A share for each name; they sum to ``total``, or to less where there is no more room.
    """
    shares = dict.fromkeys(sorted(weights), 0.0)
    active = {name for name in shares if weights[name] > 0}
    while active and total > 0:
        whole = math.fsum(weights[name] for name in active)
        wanted = {name: total * (weights[name] / whole) for name in active}  # the quotient first: weights may be tiny
        full = {name for name in active if wanted[name] >= room.get(name, math.inf)}
        for name in full or active:
            shares[name] = room[name] if full else wanted[name]
        if not full:
            break
        total -= math.fsum(room[name] for name in full)
        active -= full
    return shares


def _relative(sizes: Mapping[str, int]) -> Shares:
    """Return sizes as shares of the largest: a power of a large number may be none that a float holds."""
    largest = max(sizes.values(), default=1)
    return {name: size / largest for name, size in sizes.items()}


def _owners(mix: Mix, train: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return for each data set the name whose share it has; without weights it is a name of its own."""
    owner = _assign([*mix.weights, *mix.replay], train, "weights and replay")
    lacking = sorted(train.keys() - owner.keys())
    if mix.weights and lacking:
        raise ConfigError(
            f"mix: {', '.join(lacking)} has no weight; name its domain or language, with weight 0 to leave it out."
        )
    return {prefix: owner.get(prefix, prefix) for prefix in train}


def _assign(names: Sequence[str], train: Mapping[str, Mapping[str, Any]], what: str) -> dict[str, str]:
    """Return for each data set the narrowest name that fits it: its prefix, domain, language, or base language."""
    found: dict[str, str] = {}
    for prefix, entry in train.items():
        for label in (prefix, entry["domain"], entry["lang"], base_language(entry["lang"])):
            if label in names:
                found[prefix] = label
                break
    if unknown := sorted(set(names) - set(found.values())):
        known = sorted({label for p, d in train.items() for label in (p, d["domain"], d["lang"]) if label})
        raise ConfigError(f"mix: {what} names {', '.join(unknown)}, which no data set has; known: {', '.join(known)}.")
    return found


def sentences(resolved: Mapping[str, Any]) -> list[str]:
    """Say what a resolved mix means."""
    lines: list[str] = []
    for phase in resolved["phases"]:
        parts = (
            f"{weight:.1%} {prefix} ({_rounded(phase['epochs'][prefix])} epochs)"
            for prefix, weight in phase["weights"].items()
        )
        lines.append(f"mix, {phase['name']} ({phase['share']:.0%} of training): {', '.join(parts)}")
    if resolved["capped"]:
        lines.append(f"max_epochs keeps {', '.join(resolved['capped'])} below the weight; the others get the rest")
    return lines


def _rounded(epochs: float) -> str:
    return f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.2g}"
