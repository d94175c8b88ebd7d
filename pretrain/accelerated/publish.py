"""Writing what was trained as Hugging Face folders: the model and, of LoRA, the adapter and the merged model."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch

from hanlm.adapters import load_merged, quiet_renaming
from hanlm.errors import HanLMError
from hanlm.publish import publish
from hanlm.tokenizing import tokenizer_hash
from pretrain.accelerated.model import Trainee
from pretrain.config import PretrainConfig

_MAX_SHARD = "5GB"
_CARD = """---
library_name: peft
---

# LoRA adapter

Trained by `hanlm pretrain --backend accelerate`. It fits only the base model whose hash `manifest.json` names under
`inputs`; the merged model is the folder above.
"""


def write_model(trainee: Trainee, folder: Path, config: PretrainConfig) -> None:
    """Write the trained weights in the base's precision; those of LoRA merged, and the adapter in ``adapter/``."""
    if trainee.adapters is None:
        write_weights(trainee.model, folder, base=config.model)
        return
    _write_adapter(trainee.adapters, folder / "adapter", config)
    write_weights(load_merged(folder / "adapter", config.model, dtype=torch.float32), folder, base=config.model)


def write_weights(model: Any, folder: Path, *, base: Path) -> None:
    """Write a model's weights, each in the precision that the base stores it in; tied ones once."""
    dtypes = _stored_dtypes(base)
    common = Counter(dtypes.values()).most_common(1)[0][0]
    prefix = model.base_model_prefix + "."
    cast: dict[int, torch.Tensor] = {}
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        # Older folders lack the body's prefix.
        dtype = dtypes.get(name) or dtypes.get(name.removeprefix(prefix)) or common
        if tensor.data_ptr() not in cast:
            cast[tensor.data_ptr()] = tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
        state[name] = cast[tensor.data_ptr()]
    model.save_pretrained(str(folder), state_dict=state, max_shard_size=_MAX_SHARD)


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


def _write_adapter(adapters: Any, folder: Path, config: PretrainConfig) -> None:
    """Write the adapter as an artifact that PEFT loads, and read it back: PEFT can save less than was trained."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    with publish(
        folder,
        kind="adapter",
        config=config,
        inputs={"model": config.model},
        seed=config.seed,
        tokenizer_hash=tokenizer_hash(config.model),
    ) as draft:
        # PEFT would otherwise look the base up on a hub to find out whether its vocabulary was resized.
        with quiet_renaming():
            adapters.save_pretrained(str(draft.folder), save_embedding_layers=False)
            expected = get_peft_model_state_dict(adapters, save_embedding_layers=False)
        saved = load_file(draft.folder / "adapter_model.safetensors")
        if saved.keys() != expected.keys() or not all(saved[n].equal(t.cpu()) for n, t in expected.items()):
            raise HanLMError(
                f"the saved adapter holds {len(saved)} tensors that are not the {len(expected)} in memory; run the "
                "command again, and report this with the versions in its manifest if it stays."
            )
        (draft.folder / "README.md").write_text(_CARD, encoding="utf-8")
        draft.record(adapter={"num_tensors": len(saved), "num_parameters": sum(t.numel() for t in saved.values())})
