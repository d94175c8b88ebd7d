"""A tiny English base model, built once a session: real SentencePiece, real LLaMA, a few thousand parameters."""

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from spm_models import train_bpe

ENGLISH = [
    "The river runs past the old mill and the children walk to school along its bank every morning",
    "A good tool does one thing well, says what it did, and leaves the rest alone",
    "When the rain stopped, the farmers went out to look at their fields and count the fallen trees",
    "She opened the letter, read it twice, and put it back into the drawer without a word",
    "Numbers such as 3, 14 and 1592 stand beside words; so do signs like + and = and (brackets)",
]

CHINESE = [
    "这本书写得很好，我一口气读完了，推荐给喜欢历史的朋友。",
    "酒店的房间很干净，服务员也很热情，下次来北京还会住这里。",
    "质量太差了，用了三天就坏，客服也不理人，非常失望。",
    "中国人民的生活水平不断提高，城市和农村都发生了很大的变化。",
    "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。",
    "他打开信，读了两遍，又默默地放回抽屉里，什么也没有说。",
]
"""Our own sentences; tests that need more text vary and repeat them."""


def make_tokenizer(folder: Path, *, vocab_size: int = 320) -> None:
    """Write a LLaMA-shaped SentencePiece BPE tokenizer (bytes, rank scores) and its explicit tokenizer.json."""
    import sentencepiece as spm
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    folder.mkdir(parents=True, exist_ok=True)
    model = train_bpe(folder / "tokenizer.model", ENGLISH * 20, vocab_size, control_symbols=["<pad>"])
    sp = spm.SentencePieceProcessor(model_file=str(model))
    pieces = [sp.id_to_piece(i) for i in range(sp.vocab_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    ranked: list[tuple[int, str, str]] = []
    for i, piece in enumerate(pieces):
        if not (sp.is_control(i) or sp.is_byte(i) or sp.is_unknown(i)):
            for cut in range(1, len(piece)):
                if piece[:cut] in ids and piece[cut:] in ids:
                    ranked.append((i, piece[:cut], piece[cut:]))
    ranked.sort(key=lambda merge: (merge[0], ids[merge[1]], ids[merge[2]]))
    bpe = models.BPE(
        vocab=ids, merges=[(a, b) for _, a, b in ranked], byte_fallback=True, fuse_unk=True, unk_token="<unk>"
    )
    fast = Tokenizer(bpe)
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    fast.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special.values()])
    fast.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def make_model(folder: Path, *, tied: bool = False, seed: int = 0, vocab_size: int | None = None) -> None:
    """Add a random LLaMA of a few ten thousand parameters to a tokenizer folder: 2 layers, 4 heads on 2."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size or len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that has seen English only: Chinese falls back to bytes."""
    folder = tmp_path_factory.mktemp("tokenizer") / "tiny"
    make_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untied tiny base model; never write into it."""
    folder = tmp_path_factory.mktemp("model") / "tiny-base"
    make_tokenizer(folder)
    make_model(folder)
    return folder


@pytest.fixture(scope="session")
def padded_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with 384 rows, more than its tokenizer has tokens; never write into it."""
    folder = tmp_path_factory.mktemp("model") / "padded"
    make_tokenizer(folder)
    make_model(folder, vocab_size=384)
    return folder


@pytest.fixture(scope="session")
def chinese_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred distinct Chinese documents, one a line."""
    path = tmp_path_factory.mktemp("text") / "chinese.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(400):
            a, b, c = CHINESE[i % 6], CHINESE[(i // 6) % 6], CHINESE[(i // 36) % 6]
            file.write(
                json.dumps({"id": str(i), "text": f"第{i}篇。{a}{b}\n{c}", "domain": "story"}, ensure_ascii=False)
            )
            file.write("\n")
    return path


@pytest.fixture(scope="session")
def english_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred distinct English documents, one a line."""
    path = tmp_path_factory.mktemp("text") / "english.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(200):
            text = f"Note {i}. {ENGLISH[i % len(ENGLISH)]}. {ENGLISH[(i // 5) % len(ENGLISH)]}."
            file.write(json.dumps({"id": f"en{i}", "text": text, "domain": "notes", "lang": "en"}) + "\n")
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium (``chromium.Browser``)."""
    from chromium import Browser

    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type a command and press ctrl-C when it calls ``target``: it says one sentence and leaves with 75."""
    from hanlm.cli import main

    def run(target: str, *words: object) -> str:
        owner, _, name = target.rpartition(".")
        function = getattr(resolve_name(owner), name)

        def press(*args: Any, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return function(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(target, press)
            with pytest.raises(SystemExit) as stopped:
                main([str(word) for word in words])
        said = capsys.readouterr().err
        assert stopped.value.code == 75, said
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith("hanlm: ")
        assert "run the same command again" in said.splitlines()[-1]
        return said

    return run


@pytest.fixture
def full_disk(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type a command while no file may grow beyond some size: it says one sentence and leaves with 2."""
    from hanlm.cli import main

    def run(num_bytes: int, *words: object) -> str:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            with pytest.raises(SystemExit) as stopped:
                main([str(word) for word in words])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        said = capsys.readouterr().err
        assert stopped.value.code == 2, said
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith("hanlm: no space left")
        return said

    return run
