"""LoRA adapters: what they attach to, saved with proof that something was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hanlm.errors import ConfigError, HanLMError
from hanlm.model_folder import num_base_tokens
from sft.config import SftConfig

_CARD = """---
library_name: peft
---

# LoRA adapter

Trained by `hanlm sft` on {rows} rows of instructions. It fits only the base model whose hash `manifest.json` names
under `inputs`; the merged model lies beside it in `../model`.
"""


def lora_settings(config: SftConfig, model: Any) -> Any:
    """Return PEFT's settings for this run.

    Raises:
        ConfigError: If a target names no layer of the model.
    """
    from peft import LoraConfig

    all_linear = config.target_modules == ("all-linear",)
    if not all_linear:
        names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
        if missing := [target for target in config.target_modules if target not in names]:
            raise ConfigError(
                f"target_modules names {', '.join(missing)}, which the model does not have; expected all-linear or "
                "names such as q_proj, v_proj, up_proj."
            )
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if all_linear else list(config.target_modules),
        trainable_token_indices=_trained_rows(config, model),
        task_type="CAUSAL_LM",
    )


def _trained_rows(config: SftConfig, model: Any) -> dict[str, list[int]] | None:
    """Return which rows of which embedding layers are trained; tied layers are one, and PEFT keeps them so."""
    if config.train_embeddings == "none":
        return None
    first = 0
    if config.train_embeddings == "new":
        base_size = num_base_tokens(config.model)
        if base_size is None:
            raise ConfigError(
                f"train_embeddings is new, but {config.model} has no vocab_report.json that says which tokens are new; "
                "pass a model that extend-vocab made, or --train-embeddings all."
            )
        first = base_size
    rows = list(range(first, model.get_input_embeddings().weight.shape[0]))
    layers = [model.get_input_embeddings()]
    layers += [] if model.config.tie_word_embeddings else [model.get_output_embeddings()]
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    return {names[id(layer)]: rows for layer in layers}


def save_adapter(model: Any, folder: Path, *, base: Path, num_rows: int) -> dict[str, int]:
    """Write the adapter, read it back, and return its counts for the manifest.

    Raises:
        HanLMError: If the file differs from the model in memory, holds nothing, or holds an update that is still zero
            or not finite: an adapter that saved nothing must not pass for a success.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    # PEFT would otherwise look the base up on a hub to find out whether its vocabulary was resized.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").write_text(_CARD.format(rows=num_rows), encoding="utf-8")
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    saved = load_file(folder / "adapter_model.safetensors")
    if not all(tensor.isfinite().all() for tensor in expected.values()):
        raise HanLMError(f"training of {base} ended in numbers that are not finite; lower --lr and run again.")
    _require_whole(expected, saved)
    updates = [tensor for name, tensor in saved.items() if "lora_B" in name]
    if not any(tensor.any() for tensor in updates):
        raise HanLMError(f"training left the adapter of {base} at zero; raise --lr, --epochs or --seconds.")
    return {"num_tensors": len(saved), "num_parameters": sum(tensor.numel() for tensor in saved.values())}


def _require_whole(expected: dict[str, Any], saved: dict[str, Any]) -> None:
    same = saved.keys() == expected.keys() and all(
        saved[name].equal(tensor.detach().cpu()) for name, tensor in expected.items()
    )
    if not saved or not same:
        raise HanLMError(
            f"the saved adapter holds {len(saved)} tensors that are not the {len(expected)} in memory; "
            "run the command again, and report this with the versions in its log if it stays."
        )
