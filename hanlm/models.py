"""Model folders: refused when unsafe or mismatched, loaded, saved so that every other tool reads them."""

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hanlm.errors import ArtifactError, InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab_report.json",
)
"""What travels with a model from stage to stage, byte for byte: transformers 5 drops some of these when it saves."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_HASHED_PARTS = ("model", "normalizer", "pre_tokenizer", "decoder", "added_tokens")


def check_model_folder(path: Path, *, trust_remote_code: bool = False) -> None:
    """Refuse a folder that is no model, would run code from a pickle, or would run its own Python.

    Raises:
        InputError: One sentence with the remedy.
    """
    config = read_config(path)
    if not any(path.glob("*.safetensors")):
        pickles = sorted(p.name for p in path.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise InputError(
                f"{path} holds its weights as a pickle ({pickles[0]}), which can run any code when loaded; expected "
                "*.safetensors: convert it once on a machine you can lose, with transformers' save_pretrained."
            )
        raise InputError(f"{path} holds no weights: expected *.safetensors; pass a complete model folder.")
    if "auto_map" in config and not trust_remote_code:
        raise InputError(
            f"{path}/config.json asks to run Python of its own (auto_map); pass --trust-remote-code if you have "
            "read that code and trust it."
        )


def read_config(path: Path) -> dict[str, Any]:
    """Return a model folder's ``config.json``.

    Raises:
        InputError: If the folder or the file is missing or malformed.
    """
    file = path / "config.json"
    if not path.is_dir():
        raise InputError(f"expected a model folder at {path}, but there is none; check the path.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is no model folder: config.json is missing; check the path.") from None
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON ({error}); restore it from its source.") from None
    if not isinstance(config, dict):
        raise InputError(f"{file} should hold a JSON object, got {type(config).__name__}; restore it from its source.")
    return config  # pyright: ignore[reportUnknownVariableType]


def num_base_tokens(path: Path) -> int | None:
    """Return how many tokens the vocabulary had before ``extend-vocab``, or None where it was never extended."""
    try:
        report = json.loads((path / "vocab_report.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return int(report["num_base_tokens"])


def tokenizer_hash(path: Path) -> str:
    """Return a hash of everything that decides how a folder's tokenizer turns text into ids.

    Taken over ``tokenizer.json`` (vocabulary, merges, normalizer, pre-tokenizer, decoder, added tokens) without
    the chat template and post-processor, so that SFT leaves it unchanged; over ``tokenizer.model`` where
    there is no other.

    Raises:
        InputError: If the folder has no tokenizer.
    """
    fast, slow = path / "tokenizer.json", path / "tokenizer.model"
    if fast.is_file():
        try:
            parts = json.loads(fast.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{fast} is not valid JSON ({error}); restore it from its source.") from None
        lasting = {key: parts.get(key) for key in _HASHED_PARTS}
        return sha256(
            json.dumps(lasting, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        ).hexdigest()
    if slow.is_file():
        return sha256(slow.read_bytes()).hexdigest()
    raise InputError(f"{path} holds no tokenizer: expected tokenizer.json or tokenizer.model; check the path.")


def require_same_tokenizer(a: str, a_hash: str | None, b: str, b_hash: str | None, remedy: str) -> None:
    """Raise ``ArtifactError`` unless both hashes are equal; ``a`` and ``b`` name their owners in the sentence."""
    if a_hash != b_hash:
        raise ArtifactError(
            f"the tokenizer of {a} ({_short(a_hash)}) is not the tokenizer of {b} ({_short(b_hash)}); {remedy}"
        )


def load_tokenizer(path: Path) -> "PreTrainedTokenizerBase":
    """Load a folder's tokenizer with transformers, without running code of its own."""
    from transformers import AutoTokenizer

    if not path.is_dir():
        raise InputError(f"expected a folder with a tokenizer at {path}, but there is none; check the path.")
    tokenizer_hash(path)  # says plainly when there is no tokenizer at all
    return AutoTokenizer.from_pretrained(str(path), local_files_only=True)


def context_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the id that stands before every document: bos, or eos for families without a bos.

    Raises:
        InputError: If the tokenizer has neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise InputError("the tokenizer has neither a bos nor an eos token; add one to its special_tokens_map.json.")


def pad_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the padding id: the tokenizer's own pad, else unk. Never eos, or the end would never be learned.

    Raises:
        InputError: If the tokenizer has neither.
    """
    for token in (tokenizer.pad_token_id, tokenizer.unk_token_id):
        if isinstance(token, int) and token != tokenizer.eos_token_id:
            return token
    raise InputError("the tokenizer has no pad or unk token apart from its eos; add a pad token to it first.")


def document_ids(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """Return each text as a training document: ``[bos] ids [eos]``, bos left out where there is none."""
    bos, eos = cast("tuple[int | None, int | None]", (tokenizer.bos_token_id, tokenizer.eos_token_id))
    head, tail = [] if bos is None else [bos], [] if eos is None else [eos]
    batch = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return [[*head, *ids, *tail] for ids in cast("list[list[int]]", batch["input_ids"])]


def load_model(
    path: Path, *, dtype: "torch.dtype | None" = None, device: str = "cpu", trust_remote_code: bool = False
) -> "PreTrainedModel":
    """Load a causal language model from safetensors, in evaluation mode; ``dtype`` None keeps the stored one.

    Raises:
        InputError: If the folder is unsafe, incomplete, or disagrees with its tokenizer in size.
    """
    from transformers import AutoModelForCausalLM

    check_model_folder(path, trust_remote_code=trust_remote_code)
    _hide_shard_bars()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(path),
            dtype=dtype if dtype is not None else "auto",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is not a causal language model that transformers knows: {error}") from error
    return model.to(device).eval()


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy every tokenizer file that ``source`` has, byte for byte."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def save_model(model: "PreTrainedModel", folder: Path, *, tokenizer_from: Path) -> None:
    """Write a plain Hugging Face folder: safetensors, config, generation config, tokenizer files."""
    _hide_shard_bars()
    model.save_pretrained(str(folder))
    copy_tokenizer(tokenizer_from, folder)


def write_model_card(folder: Path, *, title: str, base: Path, body: str, licences: Sequence[str] = ()) -> None:
    """Write the model card (README.md), inheriting the licence that the base's card names."""
    inherited = [line for line in _card_licences(base) if line not in licences]
    listed = "\n".join(f"- {name}" for name in [*licences, *inherited]) or "- not stated by the base or the data"
    text = f"# {title}\n\n{body.strip()}\n\n## Licences of the base and the data\n\n{listed}\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _card_licences(base: Path) -> list[str]:
    try:
        lines = (base / "README.md").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    named = [f"{base.name}: {line.split(':', 1)[1].strip()}" for line in lines if line.startswith("license:")]
    start = next((i for i, line in enumerate(lines) if line.startswith("## Licences")), len(lines))
    return named + [line[2:] for line in lines[start:] if line.startswith("- ")]


def _hide_shard_bars() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()  # one bar a stage is enough, and it is ours


def _short(value: str | None) -> str:
    return value[:12] if value else "none recorded"
