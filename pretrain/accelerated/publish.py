"""What was trained as a Hugging Face folder, low-rank updates merged, and what LoRA learned."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from pretrain.accelerated.model import ADAPTER, Trainee, is_update
from pretrain.trainable.adapter import Learned
from pretrain.trainable.lora_config import LoraConfig

_MAX_SHARD = "5GB"
_WRAPPED = ".base_layer."
"""In the names that PEFT gives to the weights of a layer with an update."""


@torch.no_grad()
def write_weights(trainee: Trainee, folder: Path, *, base: Path) -> None:
    """Write a model's weights, each in the precision that the base stores it in; tied ones once."""
    dtypes = _stored_dtypes(base)
    common = Counter(dtypes.values()).most_common(1)[0][0]
    prefix = trainee.model.base_model_prefix + "."
    cast: dict[int, torch.Tensor] = {}
    state: dict[str, torch.Tensor] = {}
    for own_name, tensor in trainee.model.state_dict().items():
        if is_update(own_name):
            continue
        name = own_name.replace(_WRAPPED, ".")
        # Older folders lack the body's prefix.
        dtype = dtypes.get(name) or dtypes.get(name.removeprefix(prefix)) or common
        if tensor.data_ptr() not in cast:
            layer = trainee.updates.get(own_name.removesuffix(f"{_WRAPPED}weight"))
            merged = tensor if layer is None else tensor + layer.get_delta_weight(ADAPTER)
            cast[tensor.data_ptr()] = merged.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
        state[name] = cast[tensor.data_ptr()]
    trainee.model.save_pretrained(str(folder), state_dict=state, max_shard_size=_MAX_SHARD)


def _stored_dtypes(base: Path) -> dict[str, torch.dtype]:
    """Return the dtype of every tensor in a model folder, from the files' headers."""
    from safetensors import safe_open

    known = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    found: dict[str, torch.dtype] = {}
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
        found |= {name: known[kind] for name, kind in kinds.items() if kind in known}
    return found


def learned_by_accelerate(trainee: Trainee, config: LoraConfig, row_ids: Sequence[int]) -> Learned:
    """Return what LoRA learned, with the rows of these tokens."""
    layers = trainee.updates.items()
    ends = dict.fromkeys(name.rpartition(".")[2] for name in trainee.updates)
    tables = trainee.tables.items() if row_ids else ()
    return Learned(
        updates={
            name: (_on_cpu(layer.lora_A[ADAPTER].weight), _on_cpu(layer.lora_B[ADAPTER].weight))
            for name, layer in layers
        },
        rows={name.removesuffix(".weight"): _on_cpu(table)[list(row_ids)] for name, table in tables},
        row_ids=row_ids,
        targets=tuple(ends) if config.is_all_linear else config.targets,
        fan_in_fan_out=any(layer.fan_in_fan_out for _, layer in layers),
    )


def _on_cpu(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.detach().cpu()
