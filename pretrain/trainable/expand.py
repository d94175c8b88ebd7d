"""`hanlm expand-blocks`: a deeper base whose new layers are copies that change nothing yet."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlm.errors import ConfigError
from hanlm.model_folder import check_model_folder, copy_tokenizer, read_config, write_model_card
from hanlm.publish import publish, refuse_existing
from hanlm.tokenizing import tokenizer_hash
from pretrain.families import ModelShape, read_shape
from pretrain.families.weights import DOWN, DOWN_BIAS, OUTPUT, OUTPUT_BIAS
from pretrain.trainable.blocks import REPORT, copies, deeper_config, sources

if TYPE_CHECKING:
    import torch

    from pretrain.weights.base_weights import HuggingFaceWeights

_GENERATION = "generation_config.json"
_INTO_RESIDUAL = (OUTPUT, OUTPUT_BIAS, DOWN, DOWN_BIAS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpandBlocksConfig:
    """Put new layers between those of a model, for `pretrain` to train alone (LLaMA-Pro)."""

    model: Path
    """Model folder to make deeper; if its vocabulary is to be extended too, the result of `extend-vocab`."""
    out: Path
    """Folder of the deeper model."""
    num_blocks: int
    """Layers to add. LLaMA-Pro adds 8 to the 32 of LLaMA-2 7B."""
    overwrite: bool = False
    """Replace a finished OUT, at the end."""

    def __post_init__(self) -> None:
        if self.num_blocks < 1:
            raise ConfigError(f"--num-blocks must be at least 1, got {self.num_blocks}.")


def plan(config: ExpandBlocksConfig) -> list[str]:
    """Check the inputs and say what would be made."""
    shape, _ = _check(config)
    new = copies(sources(shape.num_layers, config.num_blocks))
    return [
        f"add {len(new)} layers to the {shape.num_layers} of {config.model}: "
        f"{', '.join(map(str, new))} of {shape.num_layers + len(new)}, counted from 0"
    ]


def expand_blocks(config: ExpandBlocksConfig) -> Path:
    """Write the deeper model and return its folder."""
    shape, weights = _check(config)
    layer_sources = sources(shape.num_layers, config.num_blocks)
    new = copies(layer_sources)
    report = {"num_base_layers": shape.num_layers, "new_layers": new}
    with publish(
        config.out,
        kind="model",
        config=config,
        inputs={"model": config.model},
        tokenizer_hash=tokenizer_hash(config.model),
        overwrite=config.overwrite,
    ) as draft:
        _write(draft.folder, weights, shape, layer_sources)
        _write_json(draft.folder / "config.json", deeper_config(read_config(config.model), layer_sources))
        _write_json(draft.folder / REPORT, report)
        copy_tokenizer(config.model, draft.folder)
        if (config.model / _GENERATION).is_file():
            shutil.copyfile(config.model / _GENERATION, draft.folder / _GENERATION)
        body = (
            f"`{config.model.name}` with {len(new)} more layers, copies that add nothing yet: it says what its base "
            "says until `hanlm pretrain` trains them."
        )
        write_model_card(draft.folder, title=config.out.name, base=config.model, body=body)
        draft.record(**report)
    return config.out


def _check(config: ExpandBlocksConfig) -> tuple[ModelShape, "HuggingFaceWeights"]:
    from pretrain.weights.base_weights import HuggingFaceWeights

    refuse_existing(config.out, config.overwrite)
    shape = read_shape(config.model)
    check_model_folder(config.model, code_remedy="expand-blocks runs none: choose a base of plain weights")
    if config.num_blocks > shape.num_layers:
        raise ConfigError(
            f"--num-blocks {config.num_blocks} is more than the model's {shape.num_layers} layers, each of which can "
            "be copied once; choose at most as many."
        )
    weights = HuggingFaceWeights(config.model)
    weights.check(shape)
    return shape, weights


def _write(folder: Path, weights: "HuggingFaceWeights", shape: ModelShape, layer_sources: Sequence[int]) -> None:
    """Write every tensor of the deeper model, one in memory at a time."""
    from pretrain.weights.export_weights import write_shards

    origins = dict(_origins(shape, layer_sources))
    layered = {name for weight, layer in shape.parameters() for name in weight.tensors(layer)}
    # A tied model may hold its head too, and old conversions hold buffers; those of single layers nothing reads.
    others = [name for name in weights.names if name not in layered and name not in weights.buffers]
    origins |= {name: (name, False) for name in others}
    planned = {name: weights.stored(source) for name, (source, _) in origins.items()}

    def values() -> Iterator[tuple[str, "torch.Tensor"]]:
        for name, (source, is_zero) in origins.items():
            tensor = weights(source)
            yield name, tensor.new_zeros(tensor.shape) if is_zero else tensor

    write_shards(folder, planned, values())


def _origins(shape: ModelShape, layer_sources: Sequence[int]) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Yield each tensor's name in the deeper model, its name in the base, and whether it becomes zero."""
    deeper, new = dataclasses.replace(shape, num_layers=len(layer_sources)), copies(layer_sources)
    for weight, layer in deeper.parameters():
        source = None if layer is None else layer_sources[layer]
        is_zero = layer in new and weight in _INTO_RESIDUAL
        for mine, its in zip(weight.tensors(layer), weight.tensors(source), strict=True):
            yield mine, (its, is_zero)


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
