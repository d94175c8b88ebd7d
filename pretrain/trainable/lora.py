"""LoRA on Megatron's fused and cut linear layers: one low-rank update for each Hugging Face projection.

The updates lie beside the model (``model.lora``) and are added by hooks, so that the model's own weights keep their
names. Shapes: S sequence, B batch, D inputs, R rank, O outputs of a projection.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hanlm.megatron import megatron_import
from pretrain.families import Cut, Fuse, ModelShape, Weight
from pretrain.megatron.chunks import Chunks
from pretrain.parallel import Place
from pretrain.trainable.lora_config import LoraConfig
from pretrain.trainable.lora_start import initial_a

NAME = "lora"


class LoraLayers(nn.Module):
    """The updates of all layers of one model of this process.

    Args:
        model: Megatron's ``GPTModel``.
        layers: Which layers of the whole model it holds.
        shape: The whole model's hyperparameters; the family's map says which projections a layer is fused from.
        place: This process.
        config: Rank and targets.
        seed: Decides the beginning of the A matrices; those of B are 0, so that the model begins as it is.
    """

    def __init__(
        self, model: Any, layers: range, shape: ModelShape, place: Place, config: LoraConfig, *, seed: int
    ) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        self.initial: dict[str, torch.Tensor] = {}
        """Where every parameter begins, by its name in the model, in fp32."""
        for weight in shape.weights:
            if not any(name in config.projections for name in weight.projections):
                continue
            for i, layer in enumerate(layers):
                linear = modules[weight.megatron.format(i).removesuffix(".weight")]
                update = LoraLinear(weight, layer, shape, place, config, linear.config, seed=seed)
                name = f"{_projection(weight.sources[0])}_{i}"
                self.add_module(name, update)
                self.initial |= {f"{NAME}.{name}.{own}": tensor for own, tensor in update.initial.items()}
                linear.register_forward_hook(update.add_to)

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: Any = (), metadata: Any = None) -> dict[str, Any]:
        """Describe the updates to a checkpoint, each under the name of its projection in the whole model."""
        del sharded_offsets, metadata
        found: dict[str, Any] = {}
        for name, update in self.named_children():
            assert isinstance(update, LoraLinear)
            found |= update.sharded_state_dict(f"{prefix}{name}.")
        return found


class LoraLinear(nn.Module):
    """The updates of one linear layer of this rank, cut along with it.

    A column-parallel layer has its outputs cut: A is whole on every rank and B is cut. In a row-parallel one the inputs
    are cut: A is cut and B whole. What is whole gets the same gradient on every rank; under sequence parallelism it
    gets that of a stretch of the sequence, and is marked so that megatron-core sums it.
    """

    def __init__(
        self,
        weight: Weight,
        layer: int,
        shape: ModelShape,
        place: Place,
        config: LoraConfig,
        model_config: Any,
        *,
        seed: int,
    ) -> None:
        super().__init__()
        self._fuse, self._is_column = weight.fuse, weight.cut is not Cut.COLUMNS
        self._scale, self._place, self._groups = config.scale, place, shape.num_kv_heads // place.layout.tensor
        self._head_size = shape.head_size
        self._sources = [source.format(layer).removesuffix(".weight") for source in weight.sources]
        self._sizes = [shape.sizes[axes[0]] // (place.layout.tensor if self._is_column else 1) for axes in weight.axes]
        self._names: list[str | None] = []
        self.initial: dict[str, torch.Tensor] = {}
        for source, axes in zip(self._sources, weight.axes, strict=True):
            projection = _projection(source)
            self._names.append(projection if projection in config.projections else None)
            if self._names[-1] is None:
                continue
            outputs, inputs = (shape.sizes[axis] for axis in axes)
            whole = {
                "a": initial_a(source, config.rank, inputs, seed=seed),
                "b": torch.zeros(outputs, config.rank),
            }
            for side, tensor in whole.items():
                own, is_cut = f"{projection}_{side}", (side == "b") == self._is_column
                part = tensor.chunk(place.layout.tensor, dim=int(side == "a"))[place.tensor_rank] if is_cut else tensor
                self.initial[own] = part.contiguous()
                data = part.to(place.device, model_config.params_dtype, copy=True)
                self.register_parameter(own, _marked(nn.Parameter(data), is_cut, int(side == "a"), place))

    def add_to(self, _linear: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> Any:
        """Return the output of the layer with the updates: the hook."""
        whole, bias = output
        return whole + self(inputs[0]).to(whole.dtype), bias

    def forward(self, x_SBD: torch.Tensor) -> torch.Tensor:
        """Return the sum that is added to this rank's output."""
        names = [name for name in self._names if name is not None]
        a_RD = torch.cat([getattr(self, f"{name}_a") for name in names])
        low_SBR = self._between_ranks(x_SBD @ a_RD.T) * self._scale
        parts = iter(low_SBR.chunk(len(names), dim=-1))
        updates = [
            low_SBR.new_zeros((*low_SBR.shape[:-1], size))
            if name is None
            else next(parts) @ getattr(self, f"{name}_b").T
            for name, size in zip(self._names, self._sizes, strict=True)
        ]
        if self._fuse is Fuse.QKV:
            grouped = [u.unflatten(-1, (self._groups, -1, self._head_size)) for u in updates]
            return torch.cat(grouped, dim=-2).flatten(-3)
        return torch.cat(updates, dim=-1)

    def _between_ranks(self, low_SBR: torch.Tensor) -> torch.Tensor:
        """Bring what A gave to the ranks that need it; backward, sum what their B asked for."""
        if self._place.layout.tensor == 1:
            return low_SBR
        from megatron.core import tensor_parallel as tp

        if self._place.layout.sequence_parallel:
            if self._is_column:
                return tp.gather_from_sequence_parallel_region(low_SBR, tensor_parallel_output_grad=True)
            return tp.reduce_scatter_to_sequence_parallel_region(low_SBR)
        if self._is_column:
            return tp.copy_to_tensor_model_parallel_region(low_SBR)
        return tp.reduce_from_tensor_model_parallel_region(low_SBR)

    def sharded_state_dict(self, prefix: str = "", _offsets: Any = (), _metadata: Any = None) -> dict[str, Any]:
        """Describe the matrices under ``lora.PROJECTION.a`` and ``.b``, by the projection's Hugging Face name."""
        with megatron_import():
            from megatron.core.dist_checkpointing import ShardedTensor
        found: dict[str, Any] = {}
        for source in self._sources:
            for side in "ab":
                own = f"{_projection(source)}_{side}"
                if (parameter := getattr(self, own, None)) is None:
                    continue
                is_cut, tensor = (side == "b") == self._is_column, self._place.layout.tensor
                offsets = [(int(side == "a"), self._place.tensor_rank, tensor)] if is_cut else []
                replica = (0, 0 if is_cut else self._place.tensor_rank, self._place.data_rank)
                key = checkpoint_key(source, side)
                found[prefix + own] = ShardedTensor.from_rank_offsets(key, parameter, *offsets, replica_id=replica)
        return found


def checkpoint_key(projection: str, side: str) -> str:
    """Return the key of a matrix in a checkpoint: of a projection such as ``model.layers.0.self_attn.q_proj``."""
    return f"{NAME}.{projection}.{side}"


def add_lora(model: Chunks, shape: ModelShape, place: Place, config: LoraConfig, *, seed: int) -> None:
    """Give every chunk its updates."""
    for number, chunk in enumerate(model.models):
        chunk.lora = LoraLayers(chunk, place.layers(shape.num_layers, number), shape, place, config, seed=seed)


def lora_weights(model: Chunks) -> Mapping[str, torch.Tensor]:
    """Return where a model's updates begin, by the names of its parameters."""
    found: dict[str, torch.Tensor] = {}
    for prefix, chunk in model.items():
        initial = getattr(chunk, NAME).initial if hasattr(chunk, NAME) else {}
        found |= {prefix + name: tensor for name, tensor in initial.items()}
    return found


def _projection(source: str) -> str:
    return source.removesuffix(".weight").rpartition(".")[2]


def _marked(parameter: nn.Parameter, is_cut: bool, dim: int, place: Place) -> nn.Parameter:
    """Tell megatron-core which of its gradients to sum over ranks, and which to count once in the norm."""
    with megatron_import():
        from megatron.core.tensor_parallel import set_tensor_model_parallel_attributes
    mark: Any = parameter
    if is_cut:
        set_tensor_model_parallel_attributes(parameter, True, dim, 1)
    else:
        mark.sequence_parallel = place.layout.sequence_parallel
    return parameter
