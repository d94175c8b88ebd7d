"""What the tokens' table says of the documents in a batch: their names, and how many bytes a token of each spells."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanlm.tokens import Tokens, TokenSet, read_index
from pretrain.parallel import Place

_NUM_SPECIAL_WITHOUT_BOS = 1  # eos


class Documents:
    """The training documents of a run.

    Args:
        tokens: The tokens artifacts.
        place: This process; the main one writes what all map into memory.
        cache: Folder of the run's index, on storage that all processes share.
    """

    def __init__(self, tokens: Sequence[Tokens], place: Place, cache: Path) -> None:
        self._homes = {each: artifact for artifact in tokens for each in artifact.sets if each.split == "train"}
        self.has_bos = tokens[0].bos_token_id is not None
        self.special_ids = tuple(sorted({i for t in tokens for i in (t.bos_token_id, t.eos_token_id) if i is not None}))
        self._files = {each: cache / f"bytes-{number}.npy" for number, each in enumerate(self._homes)}
        self._rates: dict[TokenSet, NDArray[np.float32]] = {}
        if place.is_main:
            cache.mkdir(parents=True, exist_ok=True)
            for artifact in tokens:
                self._write(artifact)
        place.barrier()

    def _write(self, artifact: Tokens) -> None:
        table = artifact.documents(split="train", columns=("prefix", "index", "num_bytes"))
        prefixes = np.asarray(table["prefix"].to_pylist())
        index_N, bytes_N = (table[name].to_numpy() for name in ("index", "num_bytes"))
        for each in artifact.sets:
            if each.split != "train":
                continue
            lengths, _ = read_index(each.path)
            is_here = prefixes == each.path.name
            num_bytes = np.zeros(len(lengths))
            num_bytes[index_N[is_here]] = bytes_N[is_here]
            text = np.maximum(1, lengths - _NUM_SPECIAL_WITHOUT_BOS - self.has_bos)
            np.save(self._files[each], (num_bytes / text).astype(np.float32))

    def bytes_per_token(self, token_set: TokenSet) -> NDArray[np.float32]:
        """Return the mean UTF-8 bytes of a text token of each document of a set, by its index."""
        if token_set not in self._rates:
            self._rates[token_set] = np.load(self._files[token_set], mmap_mode="r")
        return self._rates[token_set]

    def ids(self, wanted: Mapping[TokenSet, Sequence[int]]) -> dict[TokenSet, dict[int, str]]:
        """Return the ids of some documents by set and index; read from the table, which may take a while."""
        return {each: self._ids(each, sorted(set(indices))) for each, indices in wanted.items()}

    def _ids(self, token_set: TokenSet, indices: Sequence[int]) -> dict[int, str]:
        rows: Any = self._homes[token_set].documents(
            split="train",
            columns=("id", "index"),
            filters=[("prefix", "==", token_set.path.name), ("index", "in", indices)],
        )
        return dict(zip(rows["index"].to_pylist(), rows["id"].to_pylist(), strict=True))
