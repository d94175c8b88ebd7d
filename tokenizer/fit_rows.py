"""Ways of starting new rows that need the model itself: it is loaded, runs on the corpus's text, its rows are saved."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hanlm.devices import resolve_device
from hanlm.models import load_model
from hanlm.tokenizing import document_ids, load_tokenizer
from tokenizer.calibrate import calibrate
from tokenizer.distill import Distillation, distill
from tokenizer.model import EMBEDDINGS, HEADS
from tokenizer.safetensor_files import overwrite_rows, read_header

SAMPLE_TOKENS = 4_096
"""Tokens the model reads to be calibrated. On the demo base 1,024 and 16,384 were 0.04 bits per character apart."""

ROW_TOKENS = 128
"""Length of a row of text; spelled in the base's tokens it must still fit the model's context."""


def fit_rows(
    folder: Path,
    fit: str,
    texts: Sequence[str],
    spelled: Sequence[Sequence[int]],
    num_base: int,
    seed: int,
    steps: int,
    foreign: Sequence[str] = (),
) -> None:
    """Fit the new rows of a finished model folder to text, in its files.

    The model is loaded on a GPU where there is one, in its stored dtype, or in float32 to be distilled. The files keep
    their dtype and every old row.

    Args:
        folder: With rows for the new tokens, already started.
        fit: ``calibrated`` or ``distilled``; distilled rows are calibrated first.
        texts: Documents of the corpus, at least one that is not empty.
        spelled: For each new token the base's ids for its text, in order.
        num_base: Tokens of the base.
        seed: Of the order of texts.
        steps: Of distillation.
        foreign: Lines without Chinese, where new tokens should stay unlikely; may be none.
    """
    dtype = torch.float32 if fit == "distilled" else None
    model: Any = load_model(folder, dtype=dtype, device=resolve_device("auto"))
    tokenizer = load_tokenizer(folder)
    documents = document_ids(tokenizer, texts)
    np.random.default_rng(seed).shuffle(documents)  # pyright: ignore[reportArgumentType]
    counted = Counter(i for ids in documents for i in ids[1:])  # what is predicted: bos never is
    counts = [counted[i] for i in range(num_base + len(spelled))]
    # BLOOM and others without positions have no such limit.
    limit = min(4 * ROW_TOKENS, getattr(model.config, "max_position_embeddings", 4 * ROW_TOKENS))
    rows, sample = cut(documents, spelled, num_base, limit), SAMPLE_TOKENS // ROW_TOKENS
    other = cut(document_ids(tokenizer, ["\n".join(foreign)]), spelled, num_base, limit) if foreign else []
    calibrate(model, rows[:sample], counts, num_base, other[:: max(1, len(other) // sample)][:sample])
    if fit == "distilled":
        distill(model, rows, spelled, num_base, Distillation(steps=steps), seed)
    save_new_rows(model, folder, num_base, len(spelled))


def cut(
    documents: Sequence[Sequence[int]], spelled: Sequence[Sequence[int]], num_base: int, limit: int
) -> list[list[int]]:
    """Return documents as rows of at most ``ROW_TOKENS`` tokens that the base spells in at most ``limit``."""
    lengths = [1] * num_base + [len(ids) for ids in spelled]
    rows: list[list[int]] = []
    for document in documents:
        row: list[int] = []
        room = limit
        for i in document:
            if len(row) == ROW_TOKENS or lengths[i] > room:
                rows.append(row)
                row, room = [], limit
            row.append(i)
            room -= lengths[i]
        rows.append(row)
    return [row for row in rows if len(row) > 1]


def save_new_rows(model: Any, folder: Path, num_base: int, num_new: int) -> None:
    """Write the new rows of a loaded model's matrices into the folder's files, in the stored dtype."""
    for ends, matrix in ((EMBEDDINGS, model.get_input_embeddings()), (HEADS, model.get_output_embeddings())):
        rows = matrix.weight.detach()[num_base : num_base + num_new].float().cpu().numpy()
        for path in sorted(folder.glob("*.safetensors")):
            for name in read_header(path)[0]:
                if name.endswith(ends) and name.endswith("weight"):
                    overwrite_rows(path, name, num_base, rows)
