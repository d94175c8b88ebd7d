"""Imported by the fork server for its side effect alone: what every worker needs is in memory before it is forked."""

import pandas  # by pyarrow, when it first makes a table
import sentencepiece
import transformers
from transformers import AutoTokenizer

from corpora.tokens.part import tokenize_shard
from hanlm.megatron import megatron_import

with megatron_import():
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

__all__ = ["AutoTokenizer", "IndexedDatasetBuilder", "pandas", "sentencepiece", "tokenize_shard", "transformers"]
