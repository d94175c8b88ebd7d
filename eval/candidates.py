"""The models under test: named, checked before anything runs, loaded one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlm.adapters import adapter_base, is_adapter, load_merged
from hanlm.config import split_named_path
from hanlm.devices import Device, Precision, resolve_device, resolve_dtype
from hanlm.errors import ConfigError
from hanlm.model_folder import check_model_folder, read_config
from hanlm.models import load_model
from hanlm.tokenizing import load_tokenizer, tokenizer_hash

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model folder, or an adapter with its base, under the name it has in the report."""

    name: str
    """Unique in the report."""
    path: Path
    """Model or adapter folder."""
    base: Path | None
    """The model an adapter belongs on."""
    tokenizer_path: Path
    """Where its tokenizer, and its chat template if any, lie."""
    tokenizer_hash: str
    """What its token ids mean."""
    max_length: int | None
    """Context the model was made for, in tokens, where its configuration tells."""
    trust_remote_code: bool = False
    """Whether it may run Python of its own."""


def find_candidates(
    entries: Sequence[str], base: Path | None = None, *, trust_remote_code: bool = False
) -> list[Candidate]:
    """Return the models that ``DIR`` or ``NAME=DIR`` name; a folder that is not named is called after itself.

    Raises:
        ConfigError: If none is given or two have the same name.
        InputError: If a folder is missing, incomplete or unsafe.
        ArtifactError: If an artifact was damaged, or an adapter's tokenizer is not its base's.
    """
    if not entries:
        raise ConfigError("expected at least one --model, got none; pass a model folder.")
    candidates = [_candidate(entry, base, trust_remote_code) for entry in entries]
    names = [candidate.name for candidate in candidates]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two models are called {name!r}; name them: --model first=DIR second=DIR.")
    return candidates


def load_candidate(
    candidate: Candidate, *, precision: Precision, device: Device
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a model, on its device and in evaluation mode, and its tokenizer."""
    dtype, trusted = resolve_precision(precision, device), candidate.trust_remote_code
    if candidate.base is None:
        model = load_model(candidate.path, dtype=dtype, trust_remote_code=trusted)
    else:
        model = load_merged(candidate.path, candidate.base, dtype=dtype, trust_remote_code=trusted)
    tokenizer = load_tokenizer(candidate.tokenizer_path, trust_remote_code=trusted)
    return model.to(resolve_device(device)), tokenizer  # pyright: ignore[reportArgumentType]


def resolve_precision(precision: Precision, device: Device) -> "torch.dtype":
    """Return what a model computes in; ``auto`` is bfloat16 on a GPU and float32 on a CPU.

    On a CPU float32 makes figures equal between machines, and a 5 M model is faster in it: 3,100 against 2,300 tokens
    per second of a core that has AVX-512 bf16. Without AMX matrix products themselves are slower in bf16.
    """
    if precision == "auto":
        precision = "bf16" if resolve_device(device) == "cuda" else "fp32"
    return resolve_dtype(precision)


def resolve_batch_tokens(batch_tokens: int | None, device: Device) -> int:
    """Return the size of a batch; on a CPU a small one is a quarter faster, since its logits stay in the cache."""
    return batch_tokens or (16384 if resolve_device(device) == "cuda" else 1024)


def _candidate(entry: str, base: Path | None, trust_remote_code: bool) -> Candidate:
    name, path = split_named_path(entry)
    if is_adapter(path):
        home = adapter_base(path, base, trust_remote_code=trust_remote_code)
    else:
        home = path
        check_model_folder(home, trust_remote_code=trust_remote_code)
    has_tokenizer = home != path and (path / "tokenizer.json").is_file()
    tokenizer_path = path if has_tokenizer else home
    length = read_config(home).get("max_position_embeddings")
    return Candidate(
        name=name or path.resolve().name,
        path=path,
        base=None if home == path else home,
        tokenizer_path=tokenizer_path,
        tokenizer_hash=tokenizer_hash(tokenizer_path),
        max_length=length if isinstance(length, int) else None,
        trust_remote_code=trust_remote_code,
    )
