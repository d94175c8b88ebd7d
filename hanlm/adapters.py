"""LoRA adapters of other tools and our own: matched with their base, refused when unsafe or mismatched, merged."""

import json
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlm.artifact import fingerprint, open_artifact, read_manifest
from hanlm.errors import ArtifactError, InputError
from hanlm.model_folder import check_model_folder
from hanlm.models import load_model
from hanlm.tokenizing import require_same_tokenizer, tokenizer_hash

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ADAPTER_CONFIG = "adapter_config.json"
"""The file that makes a folder a PEFT adapter."""


def is_adapter(path: Path) -> bool:
    """Whether a folder holds a PEFT adapter rather than a whole model."""
    return (path / ADAPTER_CONFIG).is_file() and not (path / "config.json").is_file()


def adapter_base(path: Path, base: Path | None = None, *, trust_remote_code: bool = False) -> Path:
    """Return the model folder that an adapter belongs on, after checking that both fit and are safe.

    Args:
        path: The adapter's folder.
        base: The base to use; None takes the one that ``adapter_config.json`` names, seen from the working
            folder or from the adapter's.
        trust_remote_code: Whether the base may run Python of its own.

    Raises:
        InputError: If the base is not found, or weights are only there as a pickle.
        ArtifactError: If the adapter is damaged, or was trained with another tokenizer, or on other weights, than
            the base's.
    """
    if not (path / "adapter_model.safetensors").is_file():
        raise InputError(
            f"expected {path / 'adapter_model.safetensors'}, got an adapter without it; a pickle "
            "(adapter_model.bin) is never loaded: save it again with PEFT's safe_serialization."
        )
    found = base or _named_base(path)
    check_model_folder(found, trust_remote_code=trust_remote_code)
    manifest = open_artifact(path, "adapter").manifest if read_manifest(path) is not None else {}
    expected = manifest.get("tokenizer_hash") or _own_tokenizer(path)
    if expected is not None:
        require_same_tokenizer(
            f"adapter {path}",
            expected,
            f"base {found}",
            tokenizer_hash(found),
            "pass the model it was trained on as its base, or train it again: hanlm sft --model "
            f"{found} --data FILE --out DIR.",
        )
    trained_on = manifest.get("inputs", {}).get("model")
    if trained_on is not None and trained_on["hash"] != fingerprint(found):
        raise ArtifactError(
            f"adapter {path} was trained on other weights than those of {found}; pass the base it was trained on "
            f"({trained_on['path']})."
        )
    return found


def load_merged(
    path: Path, base: Path, *, dtype: "torch.dtype | None" = None, trust_remote_code: bool = False
) -> "PreTrainedModel":
    """Load ``base`` with the adapter merged into its weights, in evaluation mode.

    Raises:
        ArtifactError: If the adapter's weights do not fit the base or are damaged.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    model = load_model(base, dtype=dtype, trust_remote_code=trust_remote_code)
    try:
        with quiet_renaming():
            merged: Any = PeftModel.from_pretrained(model, str(path)).merge_and_unload()
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ArtifactError(
            f"adapter {path} does not fit on {base}: {first_line}; pass the base it was trained on."
        ) from error
    return merged.eval()


@contextmanager
def quiet_renaming() -> Generator[None]:
    """Keep off the terminal what transformers tells the authors of PEFT and TRL that it will rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _named_base(path: Path) -> Path:
    try:
        name = json.loads((path / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{path / ADAPTER_CONFIG} is not a JSON object ({error}); restore it from its source."
        ) from None
    candidates = [Path(name), path / name] if isinstance(name, str) and name else []
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise InputError(f"adapter {path} belongs on the base {name!r}, which is not here; pass its folder as the base.")


def _own_tokenizer(path: Path) -> str | None:
    has_own = (path / "tokenizer.json").is_file() or (path / "tokenizer.model").is_file()
    return tokenizer_hash(path) if has_own else None
