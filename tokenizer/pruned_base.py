"""``--prune``: the base without what the corpus never uses, written as a folder and read back like any other."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from hanlm.log import say
from hanlm.model_folder import num_base_tokens
from hanlm.quarantine import Quarantine
from tokenizer.added_tokens import content_of
from tokenizer.base import Base
from tokenizer.config_ids import ids_in
from tokenizer.families import read_base
from tokenizer.forms import Forms
from tokenizer.json_file import read_json, write_json
from tokenizer.prune import count_use, droppable
from tokenizer.prune_model import GENERATION, write_pruned
from tokenizer.renumber import new_ids
from tokenizer.verify import PROBE, VerificationError

MAX_INCREASE: Final = 1.02
"""Of tokens in text that the corpus does not hold: from here on a user is told."""


@dataclass(frozen=True)
class PrunedBase:
    """A smaller base, and what it lost."""

    base: Base
    """The smaller one."""
    old: Forms
    """The tokenizer before."""
    dropped: list[int]
    """Old ids."""
    num_unused: int
    """Tokens that the corpus never uses; those that others are made from stay."""

    @property
    def new_id(self) -> Mapping[int, int]:
        """Old id -> new id of the tokens that stay."""
        return new_ids(self.old.num_tokens, self.dropped)

    def as_report(self) -> dict[str, Any]:
        """Return the key ``pruned`` of ``vocab_report.json``."""
        return {
            "num_tokens_before": self.old.num_tokens,
            "num_unused": self.num_unused,
            "num_dropped": len(self.dropped),
            "dropped": [self.old.spelling(token) for token in self.dropped],
            "kept_ids": list(self.new_id),
            "probe_tokens": dict(zip(("before", "after"), self.probe_tokens, strict=True)),
        }

    @cached_property
    def probe_tokens(self) -> tuple[int, int]:
        """What lines of English, code and other scripts, of no corpus, take before and after."""
        return self.old.count(PROBE), self.base.forms().count(PROBE)

    def require_same_tokens(self, texts: Sequence[str]) -> None:
        """Raise ``VerificationError`` unless documents of the corpus keep the tokens that they had."""
        new_id, smaller = self.new_id, self.base.forms()
        before, after = _encodings(self.old, texts), _encodings(smaller, texts)
        for text, old, new in zip([*texts] * (len(before) // max(1, len(texts))), before, after, strict=True):
            if [new_id.get(token) for token in old] != new:
                raise VerificationError(
                    f"expected the pruned tokenizer to cut the corpus's text as before, got other tokens for "
                    f"{text[:80]!r}; nothing was written: report this with the base's name."
                )


def _encodings(forms: Forms, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of texts by one form after the other: they differ where a text spells an added token."""
    return [ids for form in (forms.main, *forms.others.values()) for ids in form.encode(texts)]


@dataclass(frozen=True, slots=True)
class SpareTokens:
    """The tokens of a base that a corpus can do without."""

    base: Base
    old: Forms
    """The base's tokenizer."""
    unused: list[int]
    """Tokens that the corpus never uses; those that others are made from cannot go."""
    order: list[int]
    """Those that can: the first so many, whatever the number."""
    texts: list[str]
    """Some of the corpus: their tokens must stay the same."""

    def keeping(self, spelled: Collection[bytes]) -> "SpareTokens":
        """Return the tokens that can be dropped if some must stay, known by what they spell.

        Raises:
            InputError: If none can.
        """
        unused = [token for token in self.unused if self.old.spelled(token) not in spelled]
        order = droppable(unused, self.base.parts())
        if not order:
            raise InputError(
                f"corpus and lexicon use every token of {self.base.path} that could be dropped; leave out --prune."
            )
        return replace(self, unused=unused, order=order)

    def without(self, num_dropped: int | None, folder: Path) -> PrunedBase:
        """Write the base without so many of these tokens, by default all, and read it back.

        Args:
            num_dropped: How many.
            folder: Where the smaller base is written; its last part becomes the base's name.

        Raises:
            VerificationError: If a text of the corpus would get other tokens.
        """
        dropped = sorted(self.order[:num_dropped])
        say(f"{len(dropped):,} tokens are dropped")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_pruned(self.base, dropped, folder)
        original = num_base_tokens(self.base.path)
        if original is not None:  # of a base that was extended before, the new rows are told from the old ones by this
            kept = sum(token < original for token in new_ids(self.base.num_tokens, dropped))
            write_json(folder / "vocab_report.json", {"num_base_tokens": kept})
        pruned = PrunedBase(read_base(folder, trust_remote_code=True), self.old, dropped, len(self.unused))
        pruned.require_same_tokens(self.texts)
        before, after = pruned.probe_tokens
        if after > MAX_INCREASE * before:
            say(
                f"careful: {len(PROBE)} test lines of English, code and other scripts take {after / before - 1:.0%} "
                "more tokens without them; pass all text that the model must stay good at as --corpus"
            )
        return pruned


def find_spare_tokens(base: Base, corpus: Sequence[Path], workers: int = 1) -> SpareTokens:
    """Return what can be dropped from a base.

    Args:
        base: What is pruned.
        corpus: All that the model must still be good at: a token that stands nowhere in it can go.
        workers: Threads.

    Raises:
        InputError: If the corpus uses every token.
    """
    old = base.forms(workers)
    use = count_use([old.main, *old.others.values()], base.num_tokens, corpus, Quarantine())
    parts, named = base.parts(), _named(base, old)
    unused = [token for token in parts if use.counts[token] == 0 and token not in named]
    order = droppable(unused, parts)
    if not order:
        raise InputError(f"the corpus uses every token of {base.path} that could be dropped; leave out --prune.")
    say(f"{len(unused):,} tokens never occur in the corpus; {len(order):,} of them are no part of a token that stays")
    return SpareTokens(base, old, unused, order, use.texts)


def _named(base: Base, old: Forms) -> set[int]:
    """Return the tokens that are added, or named by a role or a configuration: they always stay."""
    roles = {content_of(token).encode() for token in base.special_tokens.values()} - {b""}
    named = {token for token in range(base.num_tokens) if old.spelled(token) in roles}
    named |= {token.id for token in base.added_tokens}
    return named | set(base.ids_named) | set(ids_in(read_json(base.path if base.config else None, GENERATION)))
