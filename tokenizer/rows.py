"""Rows of the embedding and output matrices for new pieces, from the pieces' parents in the merge tree.

A piece starts as the mean of the two pieces it is merged from, recursively down to tokens of the base. A character
the base spells in bytes starts as the mean of its bytes' rows.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tokenizer.base import BYTE, NORMAL, Base
from tokenizer.encode import SentencePiece
from tokenizer.merging import last_parts
from tokenizer.pieces import SPACE
from tokenizer.spm import without_dummy_prefix

NOISE: Final = 0.2
"""Standard deviation of what is added to a character's row, in that of the matrix's own elements. Characters of one
lead byte would else start nearly equal, and those of the same bytes in another order exactly."""


def piece_parents(proto: Any, num_base: int) -> list[list[int]]:
    """Return, for each new piece in order of id, the ids its row is made of: its two parents, or its bytes."""
    scores = {p.piece: p.score for p in proto.pieces if p.type == NORMAL}
    ids = {p.piece: i for i, p in enumerate(proto.pieces) if p.type == NORMAL}
    bytes_ = {int(p.piece[1:-1], 16): i for i, p in enumerate(proto.pieces) if p.type == BYTE}
    parents: list[list[int]] = []
    for piece in (proto.pieces[i].piece for i in range(num_base, len(proto.pieces))):
        if len(piece) == 1:
            parents.append([bytes_[byte] for byte in piece.encode()])
            continue
        parts = last_parts(piece, scores)
        # A bare space says nothing about the piece and would stand for half of it.
        parents.append([ids[part] for part in parts if part != SPACE])
    return parents


def base_parents(base: Base, proto: Any) -> list[list[int]]:
    """Return, for each new piece, the ids that the base spells it with: for pieces that have no merge tree."""
    bare = SentencePiece(without_dummy_prefix(base.proto))
    new = [p.piece for p in proto.pieces[base.num_tokens :]]
    space = next((i for i, p in enumerate(base.proto.pieces) if p.piece == SPACE), None)
    spelled = bare.encode([piece.replace(SPACE, " ") for piece in new])
    return [[i for i in ids if i != space] or ids for ids in spelled]


def new_rows(
    matrix: npt.NDArray[np.float32], num_base: int, parents: Sequence[Sequence[int]], num_padded: int, seed: int
) -> npt.NDArray[np.float32]:
    """Return the rows from ``num_base`` on, [num_padded - num_base, ...].

    Args:
        matrix: [rows >= num_base, D] the base's rows; those from ``num_base`` on are padding and left out.
        num_base: Tokens of the base.
        parents: For each new piece the ids its row is the mean of; smaller than its own.
        num_padded: Rows of the result and the base together. Rows beyond the pieces are the mean of all base rows: a
            logit below most others, so padding takes next to no probability.
        seed: Of the noise on the rows of characters.
    """
    base = matrix[:num_base]
    mean = base.mean(axis=0, dtype=np.float64)
    rows = np.empty((num_padded, *matrix.shape[1:]), np.float64)
    rows[:num_base] = base
    rows[num_base:] = mean
    scale = NOISE * float((base - mean).std())
    noise = np.random.default_rng(seed)
    for i, ids in enumerate(parents, num_base):
        rows[i] = rows[list(ids)].mean(axis=0)
        if len(ids) > 2 and max(ids) < num_base:
            rows[i] += scale * noise.standard_normal(matrix.shape[1:])
    return rows[num_base:].astype(np.float32)
