"""Causal language models, loaded whole or not at all, and saved so that every other tool reads them."""

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hanlm.architectures import require_causal
from hanlm.errors import InputError
from hanlm.model_folder import check_model_folder, copy_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_model(
    path: Path, *, dtype: "torch.dtype | None" = None, device: str = "cpu", trust_remote_code: bool = False
) -> "PreTrainedModel":
    """Load a causal language model from safetensors, in evaluation mode; ``dtype`` None keeps the stored one.

    Raises:
        InputError: If the folder is unsafe or incomplete, or its weights are not those that config.json asks for.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModelForCausalLM

    require_causal(path)
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
        reason = str(error).partition("Model type should be one of")[0].strip()  # two hundred names follow
        raise InputError(f"{path} is not a causal language model that transformers knows: {reason}") from error
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


def save_model(model: "PreTrainedModel", folder: Path, *, tokenizer_from: Path) -> None:
    """Write a plain Hugging Face folder: safetensors, config, generation config, tokenizer files."""
    _hide_shard_bars()
    model.save_pretrained(str(folder))
    copy_tokenizer(tokenizer_from, folder)


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
