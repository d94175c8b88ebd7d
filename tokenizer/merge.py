"""The classic merger: the pieces of a Chinese SentencePiece model, appended to the base's vocabulary.

``compatible_merge`` does what the published Chinese-LLaMA merge did, faults included; ``merge`` gives the pieces
ranks that continue the base's, and leaves out what could never be produced or does not belong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from tokenizer.merging import last_parts
from tokenizer.pieces import NEWLINE, SEPARATOR, STRONG, Pieces, class_table
from tokenizer.proto import NORMAL, USER_DEFINED, parse_proto
from tokenizer.spm import SpmBase

IN_BASE: Final = "already in the base"
NO_TEXT: Final = "control tokens and bytes"
DIGITS: Final = "holds a digit"
FOREIGN: Final = "not Chinese"
UNREACHABLE: Final = "can never be produced"
BEYOND: Final = "beyond --num-new-tokens"


@dataclass(frozen=True, slots=True)
class Merged:
    """New pieces in order of id, and what was left out."""

    pieces: list[str]
    left_out: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Reason -> pieces."""


def read_donor(path: Path) -> Any:
    """Read the SentencePiece model whose pieces are merged in, of whatever kind.

    Raises:
        InputError: If it is none.
    """
    if not path.is_file():
        raise InputError(f"there is no SentencePiece model at {path}; check --spm.")
    proto = parse_proto(path.read_bytes())
    if proto is None:
        raise InputError(f"{path} is no SentencePiece model; expected one such as chinese_sp.model.")
    return proto


def compatible_merge(base: SpmBase, donor: Any) -> Merged:
    """Return every piece the base lacks, in the donor's order.

    The published merge gave each of them a score of 0.
    """
    known = {p.piece for p in base.proto.pieces}
    new = [p.piece for p in donor.pieces]
    return Merged([p for p in new if p not in known], {IN_BASE: [p for p in new if p in known]})


def merge(base: SpmBase, donor: Any, pieces: Pieces, limit: int | None = None) -> Merged:
    """Return the donor's pieces by its own ranking, each after the parts it is merged from.

    Raises:
        InputError: If nothing is worth adding.
    """
    left_out: dict[str, list[str]] = {}
    wanted: list[str] = []
    known = {p.piece for p in base.proto.pieces}
    for p in sorted(donor.pieces, key=lambda p: -p.score):
        reason = NO_TEXT if p.type not in (NORMAL, USER_DEFINED) else _reason_against(base, p.piece, known, pieces)
        (wanted if reason is None else left_out.setdefault(reason, [])).append(p.piece)
    order = _reachable(base, wanted)
    chosen = set(order)
    left_out.setdefault(UNREACHABLE, []).extend(piece for piece in wanted if piece not in chosen)
    if not order:
        raise InputError(f"the base {base.path} already has every Chinese piece of the model that was to be merged.")
    left_out[BEYOND] = order[limit:] if limit is not None else []
    return Merged(order[:limit], {reason: left for reason, left in left_out.items() if left})


def _reason_against(base: SpmBase, piece: str, known: set[str], pieces: Pieces) -> str | None:
    if piece in known:
        return IN_BASE
    if base.cut is not None and base.cut.search(base.plain(piece)):
        return UNREACHABLE
    if any(char.isdigit() for char in piece):
        return DIGITS
    classes = [class_table(pieces)[ord(char)] for char in piece]
    return FOREIGN if SEPARATOR in classes or STRONG not in classes else None


def _reachable(base: SpmBase, wanted: Sequence[str]) -> list[str]:
    """Return the pieces that merging arrives at, each as early as its ranking allows but after its parts.

    A piece is placed once those before it suffice: pieces of a worse rank never come between, since a better merge
    is always made first. So every prefix is a vocabulary too.
    """
    scores, first = dict(base.ranked), base.next_score
    placed = scores.keys() | ({NEWLINE} if base.newline_joins else set[str]())
    order: list[str] = []
    waiting = list(wanted)
    while waiting:
        later: list[str] = []
        for piece in waiting:
            scores[piece] = first - len(order)
            parts = last_parts(piece, scores)
            if len(piece) == 1 or (parts and placed.issuperset(parts)):
                placed.add(piece)
                order.append(piece)
            else:
                del scores[piece]
                later.append(piece)
        if len(later) == len(waiting):
            break
        waiting = later
    return order
