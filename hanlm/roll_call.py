"""A roll call: who of those that start together is missing, runs other code, or sees other files.

It needs a store that all reach (torch's ``TCPStore``), and no process group: it comes before one can be formed. The
first member is the leader, who waits for all, judges, and tells everybody the same sentence.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from hanlm.errors import ConfigError, HanLMError
from hanlm.provenance import source_hash

_TICK_SECONDS = 0.1
_READING_SECONDS = 10.0
"""How long the leader, who may hold the store, waits until all have read what it said."""
_VERDICT = "verdict"


class MissingNodes(HanLMError):  # noqa: N818  (a state of the cluster)
    """Not all came in time; another try may succeed, so the exit code is that of a run to be started again."""

    exit_code = 75


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """What a member tells of itself."""

    node: str
    """Name of the machine."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the code that has to be the same everywhere."""
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """A hash by path, of what has to be the same everywhere."""
    trouble: str = ""
    """What is wrong with this member, as far as it can see itself."""


def code_versions() -> dict[str, str]:
    """Return what decides the numbers of a run, and whether processes understand each other."""
    found = {"HanLM": source_hash()}
    for name in ("torch", "megatron-core"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def roll_call(
    store: Any, presence: Presence, *, index: int, names: Sequence[str], seconds: float, per_node: int = 1
) -> None:
    """Sign in, and return when all have and fit together; every member calls it.

    Args:
        store: A torch store with nothing in it yet (or a ``PrefixStore``).
        presence: Of this member.
        index: Of this member in ``names``; the first one is the leader.
        names: Of all members.
        seconds: How long to wait for the last one.
        per_node: Members of one machine, which follow each other in ``names``.

    Raises:
        MissingNodes: If not all came in time; names them.
        ConfigError: If the members' code or files differ; says where.
    """
    store.set(f"here/{index}", json.dumps(asdict(presence)))
    until = time.monotonic() + seconds
    if index == 0:
        found = _gather(store, len(names), until)
        verdict = _missing(found, names, seconds, per_node) or ("2" + bad if (bad := disagreement(found)) else "0")
        store.set(_VERDICT, verdict)
        _let_read(store, len(found) - 1)
    else:
        verdict = _hear(store, names[0], seconds)
        store.add("read", 1)
    if verdict.startswith("75"):
        raise MissingNodes(verdict[2:])
    if verdict.startswith("2"):
        raise ConfigError(verdict[1:])


def _gather(store: Any, num_members: int, until: float) -> dict[int, Presence]:
    found: dict[int, Presence] = {}
    while True:
        for index in set(range(num_members)) - found.keys():
            if store.check([f"here/{index}"]):
                found[index] = Presence(**json.loads(store.get(f"here/{index}")))
        if len(found) == num_members or time.monotonic() > until:
            return found
        time.sleep(_TICK_SECONDS)


def _hear(store: Any, leader: str, seconds: float) -> str:
    """Return the leader's verdict, which may come as late as the leader itself and the last member."""
    until = time.monotonic() + 2 * seconds + _READING_SECONDS
    try:
        while not store.check([_VERDICT]):  # its own way to wait would keep signals from being handled
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(_TICK_SECONDS)
        return store.get(_VERDICT).decode()
    except (RuntimeError, TimeoutError) as error:  # torch's own errors are RuntimeErrors
        raise MissingNodes(
            f"{leader}, which calls the others together, did not answer within {2 * seconds:g} s; look at its log and "
            "at the network between the nodes, and run the same command again."
        ) from error


def _let_read(store: Any, num_readers: int) -> None:
    until = time.monotonic() + _READING_SECONDS
    while store.add("read", 0) < num_readers and time.monotonic() < until:
        time.sleep(_TICK_SECONDS)


def _missing(found: Mapping[int, Presence], names: Sequence[str], seconds: float, per_node: int) -> str:
    absent = [i for i in range(len(names)) if i not in found]
    if not absent:
        return ""
    at = {i // per_node: presence.node for i, presence in found.items()} if per_node > 1 else {}
    of = {i: f" of {at.get(i // per_node, f'node {i // per_node}')}" if per_node > 1 else "" for i in absent}
    told = [names[i] + of[i] for i in absent]
    return (
        f"75expected {len(names)} to start together, but {', '.join(told)} did not come within {seconds:g} s; look "
        "there whether it runs and reaches the others (its log says more), and run the same command again."
    )


def disagreement(found: Mapping[int, Presence]) -> str:
    """Return one sentence that says in what the members differ, or nothing."""
    members = [found[i] for i in sorted(found)]
    if trouble := next((m.trouble for m in members if m.trouble), ""):
        return trouble
    if text := _differing(members, [m.versions for m in members]):
        return f"the nodes run different code: {text}; install the same on all of them."
    if text := _differing(members, [m.inputs for m in members]):
        return f"the nodes read different files: {text}; put them on storage that all nodes share, or copy them anew."
    return ""


def _differing(members: Sequence[Presence], facts: Sequence[Mapping[str, str]]) -> str:
    for name in dict.fromkeys(key for each in facts for key in each):
        by_value: dict[str, str] = {}
        for member, each in zip(members, facts, strict=True):
            if name in each:
                by_value.setdefault(each[name], member.node)
        if len(by_value) > 1:
            return f"{name} is " + ", ".join(f"{value} on {node}" for value, node in by_value.items())
    return ""
