"""The tensors a checkpoint holds: exact weights and the optimizer's moments, each whole, whatever the layout.

Every trained weight has its moments in its own shape (megatron-core calls this form ``fully_reshardable``), and
what rates and decays belong to it follows from the configuration. So a run goes on at any layout, with the
distributed optimizer or without.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from pretrain.checkpoints.checkpoint import Checkpoint, load
from pretrain.megatron.engine import Engine
from pretrain.megatron.shards import Shard, gather, shards

_MOMENTS = ("exp_avg", "exp_avg_sq")


def sharded_state(engine: Engine, *, with_optimizer: bool = True) -> dict[str, Any]:
    """Return the sharded state dict to save; call it on every process.

    The weights are the fp32 masters, of frozen parameters too. New rows are saved as part of their tables.
    """
    engine.settle_masters()
    model: Any = engine.model.sharded_state_dict()
    parameters = dict(engine.model.named_parameters())
    inner = _inner(engine)
    owned = _owned(engine, parameters)
    moments: dict[str, Any] = {}
    if with_optimizer:
        _create_moments(inner)
    for name, parameter in parameters.items():
        shard = owned.get(name)
        if with_optimizer and parameter.requires_grad:
            entry = {} if shard is None else inner.optimizer.state[shard.main]
            for key in _MOMENTS:
                whole = _first_has(gather(inner, shard, entry.get(key), parameter.shape, everywhere=False), parameter)
                moments[f"{key}.{name}"] = _named_as(model[name], whole, key)
        if (exact := engine.masters.get(name)) is None:
            values = None if shard is None else shard.main.detach()
            exact = _first_has(gather(inner, shard, values, parameter.shape, everywhere=False), parameter)
        model[name].data = exact
    state = {"model": {name: model[name] for name in parameters if name not in engine.row_names}}
    if with_optimizer:
        [num_steps] = engine.place.agree(_num_steps(inner))
        state["optimizer"] = {"num_steps": int(num_steps), "moments": moments}
    return state


def restore(engine: Engine, checkpoint: Checkpoint, *, with_optimizer: bool) -> None:
    """Load a checkpoint into an engine whose phase has been started.

    Silently wrong otherwise: the moments must exist before they are loaded into, loading must record no
    gradients, the exact weights must reach what the optimizer updates and not only the parameters, and every
    weight needs its own ``step``: sharing one tensor, a single step would count once for each.
    """
    model: Any = engine.model.sharded_state_dict()
    parameters = dict(engine.model.named_parameters())
    inner = _inner(engine)
    owned = _owned(engine, parameters)
    wanted: dict[str, Any] = {}
    if with_optimizer:
        wanted["optimizer"] = {"moments": {}}
        for name, key in [(name, key) for name in owned for key in _MOMENTS]:  # no more than this process needs
            whole = torch.empty(parameters[name].shape, dtype=torch.float32)
            wanted["optimizer"]["moments"][f"{key}.{name}"] = _named_as(model[name], whole, key)
    whole_names = [name for name in parameters if name not in engine.row_names]
    for name in whole_names:
        model[name].data = engine.masters.get(name, torch.empty(parameters[name].shape, dtype=torch.float32))
    loaded = load(checkpoint.path, wanted | {"model": {name: model[name] for name in whole_names}})
    with torch.no_grad():
        _put_weights(engine, parameters, owned, loaded["model"])
        if with_optimizer:
            _create_moments(inner)
            for name, shard in owned.items():
                for key in _MOMENTS:
                    whole = loaded["optimizer"]["moments"][f"{key}.{name}"]
                    inner.optimizer.state[shard.main][key].copy_(shard.of(whole))
            _set_num_steps(inner, loaded["optimizer"]["num_steps"])


def _put_weights(
    engine: Engine, parameters: Mapping[str, Any], owned: Mapping[str, Shard], exact: Mapping[str, torch.Tensor]
) -> None:
    """Put whole exact weights wherever they live: into masters, parameters, and what the optimizer updates."""
    for name in exact:
        if name in engine.masters:
            engine.masters[name].copy_(exact[name])
    for name, parameter in parameters.items():
        weight = engine.masters[name] if name in engine.row_names else exact[name]  # rows of a table just loaded
        parameter.data.copy_(weight)
        if name in owned:
            owned[name].main.copy_(owned[name].of(weight))


def _inner(engine: Engine) -> Any:
    return engine.inner_optimizer if engine.optimizer is not None else None


def _owned(engine: Engine, parameters: Mapping[str, Any]) -> dict[str, Shard]:
    return {} if engine.optimizer is None else shards(engine.inner_optimizer, parameters)


def _named_as(model_tensor: Any, whole: torch.Tensor, key: str) -> Any:
    """Return a moment as a sharded tensor that is cut as its weight is, each layer's under a key of its own.

    Weights of all layers make up one tensor in a checkpoint, but a phase may train some layers alone.
    """
    from megatron.core.dist_checkpointing import ShardedTensor
    from megatron.core.dist_checkpointing.optimizer import make_sharded_optimizer_tensor

    moment = make_sharded_optimizer_tensor(model_tensor, whole, prefix=f"optimizer.state.{key}")
    if isinstance(moment, ShardedTensor):
        return _of_one_layer(moment)
    build = moment.build_fn
    return replace(moment, build_fn=lambda *parts: [_of_one_layer(tensor) for tensor in build(*parts)])


def _of_one_layer(tensor: Any) -> Any:
    """Return a sharded tensor without the layer axis, its layer's number in its key instead."""
    if not tensor.prepend_axis_num:
        return tensor
    layer, *offset = tensor.global_offset
    return replace(
        tensor,
        key=tensor.key.replace(".layers.", f".layers.{layer}."),
        global_shape=tensor.global_shape[1:],
        global_offset=tuple(offset),
        axis_fragmentations=tensor.axis_fragmentations[1:],
        prepend_axis_num=0,
    )


def _first_has(whole: torch.Tensor | None, parameter: torch.Tensor) -> torch.Tensor:
    """Return the tensor, or on data-parallel ranks but the first, which write nothing, one of its shape only."""
    return torch.empty(parameter.shape, dtype=torch.float32, device="meta") if whole is None else whole


def _create_moments(inner: Any) -> None:
    """Give every weight that has none yet moments of zero and a count of its own."""
    if inner.optimizer is None:  # this process trains nothing
        return
    inner.init_state_fn(inner.optimizer, inner.config)
    if isinstance(inner.optimizer, torch.optim.AdamW):  # TransformerEngine's counts by group
        for main, entry in inner.optimizer.state.items():
            entry.setdefault("step", torch.zeros((), dtype=torch.float32, device=main.device))


def _num_steps(inner: Any) -> float:
    """Return the steps that moments have been averaged over; 0 where this process has no moments."""
    if inner.optimizer is None:
        return 0.0
    counts = [entry["step"] for entry in inner.optimizer.state.values() if "step" in entry]
    counts += [group["step"] for group in inner.optimizer.param_groups if "step" in group]
    return float(max(counts, default=0))


def _set_num_steps(inner: Any, num_steps: int) -> None:
    if inner.optimizer is None:
        return
    for entry in inner.optimizer.state.values():
        if "step" in entry:
            entry["step"] = torch.full_like(entry["step"], num_steps)
    if not isinstance(inner.optimizer, torch.optim.AdamW):
        for group in inner.optimizer.param_groups:
            group["step"] = num_steps
