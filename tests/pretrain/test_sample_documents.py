"""Which documents a training sample is made of: exact, whatever the round is."""

import numpy as np
import pytest
from draws import draw
from places import ALONE

from hanlm.tokens import open_tokens
from pretrain.watching.documents import Documents
from pretrain.watching.replay import Raise
from pretrain.watching.samples import sample_parts


@pytest.mark.fault(10)
@pytest.mark.parametrize("kind", ["one set", "blend", "raised", "second pass"])
def test_the_stretches_of_a_sample_are_its_tokens(tiny_tokens, tmp_path, kind):
    """Read from the ``.bin`` by set, index and position, they spell what the model was shown, label included."""
    tokens = open_tokens(tiny_tokens)
    data = draw(tokens, tmp_path, only="docs" if kind == "one set" else None)
    if kind == "raised":
        data.raise_shares([Raise(step=2, lang="en", factor=2.0, max_share=0.9)])
    files, seen = {}, 0
    for step in range(12, 20) if kind == "second pass" else range(12):
        [batch] = data.step(step)
        train, first = data.locate(step)
        sets = list(data.shares(step))
        for row in range(4):
            parts = sample_parts(train, first + row)
            token_set = sets[parts.set_number]
            file = files.setdefault(token_set, token_set.open())
            told = np.concatenate(
                [
                    np.array(file[document])[begin:end]
                    for document, begin, end in zip(parts.document_P, parts.begin_P, parts.end_P, strict=True)
                ]
            )
            assert told[:-1].tolist() == batch.input_BT[row].tolist()
            assert told[1:].tolist() == batch.label_BT[row].tolist()
            is_text = ~np.isin(told[1:], [1, 2])
            assert parts.text_labels(has_bos=True).sum() == is_text.sum()
            seen += len(parts.document_P)
    assert seen > 40


def test_documents_are_named_and_their_bytes_a_token_are_those_of_the_table(tiny_tokens, tmp_path):
    tokens = open_tokens(tiny_tokens)
    documents = Documents([tokens], ALONE, tmp_path)
    rows = tokens.documents(split="train").to_pylist()
    train = {s.path.name: s for s in tokens.sets if s.split == "train"}
    for name, token_set in train.items():
        mine = [r for r in rows if r["prefix"] == name]
        ids = documents.ids({token_set: [r["index"] for r in mine]})[token_set]
        assert ids == {r["index"]: r["id"] for r in mine}
        rates = documents.bytes_per_token(token_set)
        assert len(rates) == token_set.num_documents
        assert [rates[r["index"]] for r in mine] == pytest.approx(
            [r["num_bytes"] / (r["num_tokens"] - 2) for r in mine]
        )
    assert len(train) == 3
    assert documents.special_ids == (1, 2)
