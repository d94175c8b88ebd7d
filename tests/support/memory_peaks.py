"""Measures the peak memory of two training steps of made-up models; as a script under torchrun it writes the ratios."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from pretrain.config import PretrainConfig
from pretrain.data.batches import Batch
from pretrain.families import ModelShape
from pretrain.layout import Layout
from pretrain.megatron.engine import Engine
from pretrain.megatron.model import build_model
from pretrain.parallel import Place, parallel
from pretrain.planning.measure import peak_memory_of
from pretrain.planning.memory import stage_memory
from pretrain.planning.parts import Training
from pretrain.trainable.lora import add_lora, lora_weights
from pretrain.trainable.lora_config import LoraConfig
from pretrain.trainable.trained import trained_by

SIZES = {"num_layers": 2, "hidden_size": 256, "ffn_size": 704, "num_heads": 8, "num_kv_heads": 4, "head_size": 32}
CASES: tuple[dict[str, Any], ...] = (
    {},
    {"num_layers": 5, "hidden_size": 128, "head_size": 64},
    {"vocab_size": 8192, "is_tied": True, "batch": 1},
    {"hidden_size": 64, "num_heads": 2, "num_kv_heads": 2, "vocab_size": 20_000, "batch": 1, "length": 64},
)
PHASES: dict[str, dict[str, Any]] = {
    "new rows": {"trainable": "new_rows"},
    "embeddings": {"trainable": "embeddings"},
    "LoRA": {"trainable": "lora", "rows": "none"},
    "LoRA, new rows": {"trainable": "lora", "rows": "new"},
    "LoRA, all rows": {"trainable": "lora", "rows": "all"},
    "LoRA of two": {"trainable": "lora", "rows": "none", "targets": ("q_proj", "v_proj")},
}
NEW_SHARE = 3
"""New tokens are a third of a vocabulary, as in Chinese-LLaMA."""


def make_shape(**changes: Any) -> ModelShape:
    """Return a LLaMA of these sizes."""
    rest = {"family": "llama", "vocab_size": 512, "max_positions": 4096, "norm_eps": 1e-5, "rope_theta": 1e4}
    return ModelShape(**(SIZES | rest | {"is_tied": False} | changes))


def peak(
    shape: ModelShape,
    place: Place,
    dtype: torch.dtype,
    *,
    batch: int,
    length: int,
    micro_batches: int,
    phase: Mapping[str, Any] = MappingProxyType({}),
    num_phases: int = 1,
) -> int:
    """Return the peak from before the model is made until after two steps, in each of so many equal phases."""
    config = config_of(length, phase)
    with peak_memory_of(place.device) as measured:
        model = build_model(shape, place, dtype=dtype, seq_length=length)
        weights = {name: torch.randn(p.shape) for name, p in model.named_parameters()}
        if config.has_lora:
            add_lora(model, shape, place, config.lora, seed=0)
            weights |= lora_weights(model)
        engine = Engine(model, shape, place, weights, config)
        del weights
        for _ in range(num_phases):
            engine.start_phase(config.resolved_phases(has_new_rows=True)[0], num_base_tokens=num_base_tokens(shape))
            for _ in range(2):
                ids = [torch.randint(shape.vocab_size, (batch, length)) for _ in range(micro_batches)]
                engine.step([Batch(input_BT=x, label_BT=x.clone()) for x in ids], share=0.1)
    return measured.num_bytes


def config_of(length: int, phase: Mapping[str, Any]) -> PretrainConfig:
    """Return a configuration with one phase of two steps."""
    settings: dict[str, Any] = dict(phase)
    if targets := settings.pop("targets", None):
        settings["lora"] = LoraConfig(targets=targets)
    paths: dict[str, Any] = {"model": Path("m"), "tokens": (Path("t"),), "out": Path("o")}
    return PretrainConfig(**paths, steps=2, seq_length=length, **settings)


def num_base_tokens(shape: ModelShape) -> int:
    """Return how many of a made-up model's tokens are old."""
    return shape.vocab_size - shape.vocab_size // NEW_SHARE


def ratio(
    place: Place,
    dtype: torch.dtype,
    case: dict[str, Any],
    *,
    micro_batches: int = 3,
    phase: Mapping[str, Any] = MappingProxyType({}),
) -> float:
    """Return the formula's peak of this process over the measured one."""
    changes = dict(case)
    batch, length = changes.pop("batch", 2), changes.pop("length", 128)
    if place.layout.virtual > 1:
        changes["num_layers"], micro_batches = 2 * place.layout.pipeline * place.layout.virtual, 4
    shape = make_shape(**changes)
    config = config_of(length, phase)
    [planned] = config.resolved_phases(has_new_rows=True)
    lora = config.lora if config.has_lora else None
    training = Training(
        layout=place.layout,
        data_size=place.data_size,
        micro_batch_size=batch,
        seq_length=length,
        num_micro_batches=micro_batches,
        bytes_per_value=dtype.itemsize,  # pyright: ignore[reportArgumentType]
        device="cpu",
        trained=trained_by(planned, shape, num_old=num_base_tokens(shape), lora=lora),
    )
    measured = peak(shape, place, dtype, batch=batch, length=length, micro_batches=micro_batches, phase=phase)
    return stage_memory(shape, training, place.pipeline_rank).total / measured


def main() -> None:
    """Write, as JSON, this process's ratios for every case and phase in fp32 and bf16; the layout comes as JSON."""
    torch.set_num_threads(1)
    folder, layout = Path(sys.argv[1]), Layout(**json.loads(sys.argv[2]))
    with parallel(layout, seed=0) as place:
        tried: list[tuple[dict[str, Any], dict[str, Any]]] = [(case, {}) for case in CASES]
        tried += [(CASES[0], phase) for phase in PHASES.values()]
        dtypes = (torch.float32, torch.bfloat16)
        found = [ratio(place, dtype, case, phase=phase) for case, phase in tried for dtype in dtypes]
        (folder / f"{place.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
