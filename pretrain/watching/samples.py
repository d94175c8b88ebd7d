"""Which documents a training sample is made of, read from the index that Megatron draws it by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.watching.replay import Series


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleParts:
    """One sample of T tokens and the one after them, as stretches of P documents."""

    set_number: int
    """The token set's place in the round's shares."""
    document_P: NDArray[np.int64]  # noqa: N815
    """Index of each document in its set."""
    begin_P: NDArray[np.int64]  # noqa: N815
    """First token of each stretch within its document."""
    end_P: NDArray[np.int64]  # noqa: N815
    """One past its last token."""
    length_P: NDArray[np.int64]  # noqa: N815
    """Tokens of the whole document."""

    def text_labels(self, *, has_bos: bool) -> NDArray[np.int64]:
        """Return how many labels of each stretch are text: not bos, not eos, and not the sample's first token."""
        begin_P = self.begin_P.copy()
        begin_P[0] += 1  # the first token is input only
        begin_P = np.maximum(begin_P, 1) if has_bos else begin_P
        return np.maximum(0, np.minimum(self.end_P, self.length_P - 1) - begin_P)


def sample_parts(train: Any, i: int) -> SampleParts:
    """Return what the i-th sample of a round is made of.

    Args:
        train: What ``TrainingData`` draws from: Megatron's ``GPTDataset``, its ``BlendedDataset``, or ``Reblended``.
        i: Number of the sample in the round.
    """
    set_number, dataset = 0, train
    if hasattr(train, "dataset_index"):
        set_number, i = int(train.dataset_index[i]), int(train.dataset_sample_index[i])
        dataset = train.datasets[set_number]
    if isinstance(dataset, Series):
        dataset, i = dataset.find(i)
    at = int(dataset.shuffle_index[i])
    (first, begin), (last, end) = dataset.sample_index[at : at + 2].tolist()
    document_P = np.asarray(dataset.document_index[first : last + 1], dtype=np.int64)
    length_P = np.asarray(dataset.dataset.sequence_lengths[document_P], dtype=np.int64)
    begin_P, end_P = np.zeros_like(length_P), length_P.copy()
    begin_P[0] = begin
    end_P[-1] = end + 1  # the label after the last input is drawn too
    return SampleParts(set_number=set_number, document_P=document_P, begin_P=begin_P, end_P=end_P, length_P=length_P)
