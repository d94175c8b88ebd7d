"""Imported by the fork server for its side effect alone: what every worker needs is in memory before it is forked."""

import sentencepiece
import transformers
from transformers import AutoTokenizer

import corpora.tokens.part
from hanlm.megatron import megatron_import

with megatron_import():
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

__all__ = ["AutoTokenizer", "IndexedDatasetBuilder", "corpora", "sentencepiece", "transformers"]
