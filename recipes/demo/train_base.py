"""Train the demo's base: a small English LLaMA with a vocabulary of its own, from any folder of English text.

    python recipes/demo/train_base.py --out runs/base                         # docstrings of the installed packages
    python recipes/demo/train_base.py --text my-english/ --out runs/base --seconds 1800

It reads English only: records that name another language and texts with any Chinese, Japanese or Korean are left out.
Two per cent of the documents, chosen by the hash of their content, are held out, here and in every stage of HanLM.
"""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from base_training import Budget, Shape
from cyclopts import App, Parameter

from hanlm.errors import ConfigError, HanLMError, InputError
from hanlm.text import in_valid_split, normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import LlamaForCausalLM

VALID_FRACTION = 0.02


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainBaseConfig:
    """A small English base model from random weights."""

    out: Path
    """Folder to write: a Hugging Face model folder with its tokenizer and card."""
    text: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    """Files or folders of English text (txt, md, jsonl); without any, the docstrings of the installed packages."""
    docstrings: bool = False
    """Read the docstrings as well as `text`."""
    budget: Annotated[Budget, Parameter(name="*")] = field(default_factory=Budget)
    """How long to train."""
    shape: Annotated[Shape, Parameter(name="*")] = field(default_factory=Shape)
    """The architecture."""
    compile: bool = False
    """Use torch.compile: faster steps after a minute or two of compiling."""
    threads: int = 2
    """CPU threads."""
    seed: int = 0
    """Fixes the order of the data and the random weights."""

    def __post_init__(self) -> None:
        if self.out.exists():
            raise ConfigError(f"{self.out} exists already; remove it or pass another --out.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """English documents, split, with what they are."""

    train: list[str]
    """Documents to learn from, shuffled."""
    valid: dict[str, list[str]]
    """Held-out documents by domain."""
    sources: Counter[tuple[str, str]]
    """UTF-8 bytes by domain and licence."""


def train_base(config: TrainBaseConfig) -> Path:
    """Gather, split, learn the vocabulary, train, measure, and write the model folder; returns it.

    Raises:
        ConfigError, InputError: Unusable flags or text.
    """
    import torch
    from base_training import new_model, packed_rows, train
    from base_vocabulary import train_vocabulary, write_tokenizer

    torch.set_num_threads(config.threads)
    texts = gather(config)
    work = config.out.with_name(config.out.name + ".work")
    shutil.rmtree(work, ignore_errors=True)
    _say(f"{len(texts.train):,} training documents; learning {config.shape.vocab_size:,} pieces")
    tokenizer = work / "tokenizer"
    try:
        write_tokenizer(train_vocabulary(texts.train, config.shape.vocab_size), tokenizer, config.shape.max_length)
    except RuntimeError as error:
        raise InputError(f"the text is too small for {config.shape.vocab_size} pieces ({error}); pass more.") from error
    stream = token_stream(tokenizer / "tokenizer.model", texts.train)
    if len(stream) <= config.shape.max_length * config.budget.batch_size:
        raise InputError(f"the text has {len(stream)} tokens, less than one step; pass more text.")
    model = new_model(config.shape, config.seed)
    _say(f"{len(stream):,} tokens, {model.num_parameters():,} parameters")

    def save_snapshot(model: "LlamaForCausalLM", progress: str) -> None:
        save_model_folder(model, tokenizer, work / "snapshot")
        _say(f"snapshot in {work / 'snapshot'}: {progress}")

    batches = packed_rows(stream, config.shape, config.budget, config.seed)
    trained = train(model, batches, config.budget, save_snapshot, compile_model=config.compile)
    from base_card import measure, write_card

    finished = work / "finished"
    save_model_folder(model, tokenizer, finished)
    write_card(finished, measure(finished, texts.valid), texts.sources, trained)
    finished.rename(config.out)
    shutil.rmtree(work)
    return config.out


def gather(config: TrainBaseConfig) -> Texts:
    """Read, normalise, deduplicate and split the English documents."""
    train: list[str] = []
    valid: dict[str, list[str]] = {}
    sources: Counter[tuple[str, str]] = Counter()
    seen: set[int] = set()
    for text, domain, license_name in _english(config):
        normalised = normalise(text)
        key = hash(normalised)
        if not normalised or key in seen:
            continue
        seen.add(key)
        sources[domain, license_name or "not stated"] += len(normalised.encode())
        if in_valid_split(normalised, VALID_FRACTION):
            valid.setdefault(domain, []).append(normalised)
        else:
            train.append(normalised)
    if not train or not valid:
        raise InputError(f"found {len(train)} documents to train on and {len(valid)} held out; pass more text.")
    random.Random(config.seed).shuffle(train)
    return Texts(train=train, valid=valid, sources=sources)


def token_stream(spm: Path, texts: list[str]) -> "NDArray[np.uint16]":
    """Return all documents as one array of ids, each as `<s> ids </s>`."""
    import numpy as np
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    encoded: list[list[int]] = processor.encode(texts, add_bos=True, add_eos=True, num_threads=2)  # pyright: ignore
    return np.concatenate([np.asarray(ids, dtype=np.uint16) for ids in encoded])


def save_model_folder(model: "LlamaForCausalLM", tokenizer: Path, folder: Path) -> None:
    """Write a bf16 copy of the model with its tokenizer."""
    import copy

    import torch

    from hanlm.models import save_model

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_model(copy.deepcopy(model).to(torch.bfloat16), folder, tokenizer_from=tokenizer)  # pyright: ignore


def _english(config: TrainBaseConfig) -> Iterator[tuple[str, str, str]]:
    """Yield text, domain and licence of the documents that may be English."""
    from corpora.docstrings import has_cjk, iter_docstrings
    from hanlm.records import Quarantine, read_documents

    if config.docstrings or not config.text:
        for record in iter_docstrings():
            yield record["text"], record["domain"], record["license"]
    quarantine = Quarantine()
    for document in read_documents(config.text, quarantine, lang="en"):
        if document.lang.startswith("en") and not has_cjk(document.text):
            yield document.text, document.domain, document.license
    quarantine.check()


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Command line."""
    app = App(name="train_base.py", help=(__doc__ or "").splitlines()[0])

    @app.default
    def run(config: TrainBaseConfig) -> None:  # pyright: ignore[reportUnusedFunction]
        print(train_base(config))

    try:
        app()
    except HanLMError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
