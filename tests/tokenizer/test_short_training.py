"""The short training of the benchmarks: what it says it was trained on is what it was trained on."""

import importlib.util
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from hanlm.tokenizing import document_ids, load_tokenizer

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "short_training.py"


@pytest.fixture(scope="module")
def short_training() -> ModuleType:
    spec = importlib.util.spec_from_file_location("short_training", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["short_training"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_characters_are_counted_row_by_row_not_document_by_document(short_training, tiny_tokenizer_folder):
    tokenizer = load_tokenizer(tiny_tokenizer_folder)
    texts = ["a short text", "他说" * 200, "another short text"]
    stream = short_training.Stream(tokenizer, texts, length=64, seed=0)
    ids = {i: document_ids(tokenizer, [texts[i]])[0] for i in stream._order}
    assert max(map(len, ids.values())) > 5 * 64
    chars = [len(texts[i]) / len(ids[i]) for i in stream._order for _ in ids[i]]
    for n, _ in enumerate(islice(stream, len(chars) // 64), 1):
        assert stream.num_chars == pytest.approx(sum(chars[: n * 64]))
