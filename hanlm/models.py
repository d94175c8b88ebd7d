"""Model folders: refused when unsafe or mismatched, loaded, saved so that every other tool reads them."""

import json
import shutil
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
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
    if not trust_remote_code:
        _refuse_code(path, "config.json", config)
        _refuse_tokenizer_code(path)
    _check_shards(path)


def _refuse_tokenizer_code(path: Path) -> None:
    if (path / "tokenizer_config.json").is_file():
        _refuse_code(path, "tokenizer_config.json", _read_object(path / "tokenizer_config.json"))


def _refuse_code(path: Path, name: str, settings: Mapping[str, Any]) -> None:
    if "auto_map" in settings:
        raise InputError(
            f"{path / name} asks to run Python of its own (auto_map); pass --trust-remote-code if you have "
            "read that code and trust it."
        )


def _check_shards(path: Path) -> None:
    """Read every shard's header, which tells its length: a cut download is found before anything is loaded."""
    from safetensors import SafetensorError, safe_open

    index = path / "model.safetensors.index.json"
    named = set(_read_object(index).get("weight_map", {}).values()) if index.is_file() else set[str]()
    for shard in sorted({*named, *(p.name for p in path.glob("*.safetensors"))}):
        if not (path / shard).is_file():
            raise InputError(f"{path / shard} is missing, though {index.name} names it; restore it from its source.")
        try:
            with safe_open(path / shard, framework="numpy"):
                pass
        except SafetensorError as error:
            raise InputError(f"{path / shard} is truncated or damaged ({error}); restore it from its source.") from None


def read_config(path: Path) -> dict[str, Any]:
    """Return a model folder's ``config.json``.

    Raises:
        InputError: If the folder or the file is missing or malformed.
    """
    file = path / "config.json"
    if not path.is_dir():
        raise InputError(f"expected a model folder at {path}, but there is none; check the path.")
    if not file.is_file():
        raise InputError(f"{path} is no model folder: config.json is missing; check the path.")
    return _read_object(file)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON ({error}); restore it from its source.") from None
    if not isinstance(value, dict):
        raise InputError(f"{file} should hold a JSON object, got {type(value).__name__}; restore it from its source.")
    return value  # pyright: ignore[reportUnknownVariableType]


def num_base_tokens(path: Path) -> int | None:
    """Return how many tokens the vocabulary had before ``extend-vocab``, or None where it was never extended."""
    file = path / "vocab_report.json"
    if not file.is_file():
        return None
    num_tokens = _read_object(file).get("num_base_tokens")
    if not isinstance(num_tokens, int):
        raise InputError(f"{file} should tell num_base_tokens, got {num_tokens!r}; run extend-vocab again.")
    return num_tokens


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
        parts = _read_object(fast)
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
    _refuse_tokenizer_code(path)
    try:
        return AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise InputError(
            f"{path} holds a tokenizer that transformers cannot load ({type(error).__name__}: {error}); "
            "restore it from its source."
        ) from error


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
        InputError: If the folder is unsafe or incomplete, or its weights are not those that config.json asks for.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModelForCausalLM

    check_model_folder(path, trust_remote_code=trust_remote_code)
    _hide_shard_bars()
    try:
        with _no_load_report():
            model, loaded = cast(
                "tuple[Any, dict[str, set[Any]]]",
                AutoModelForCausalLM.from_pretrained(
                    str(path),
                    dtype=dtype if dtype is not None else "auto",
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=trust_remote_code,
                    ignore_mismatched_sizes=True,  # told below, in one sentence
                    output_loading_info=True,
                ),
            )
    except (ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        raise InputError(f"{path} is not a causal language model that transformers knows: {error}") from error
    _require_all_weights(path, loaded)
    return model.to(device).eval()


def _require_all_weights(path: Path, loaded: Mapping[str, Collection[Any]]) -> None:
    """Refuse a model with weights that transformers would have made up at random."""
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"{path} lacks {len(missing)} weights that its config.json asks for, such as {missing[0]}; "
            "restore the folder from its source."
        )
    if wrong := sorted(loaded["mismatched_keys"]):
        name, stored, expected = wrong[0]
        raise InputError(
            f"{path}: expected {name} of shape {list(expected)} after config.json, got {list(stored)} "
            f"({len(wrong)} such weights); restore the folder from its source."
        )


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


@contextmanager
def _no_load_report() -> Generator[None]:
    """Keep transformers' table of missing weights off the terminal: they are told as an error."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _short(value: str | None) -> str:
    return value[:12] if value else "none recorded"
