"""The tensors a checkpoint holds: exact weights and the optimizer's moments, in Megatron's sharded form."""

from typing import Any

import torch

from pretrain.checkpoint import Checkpoint, load
from pretrain.engine import Engine


def sharded_state(engine: Engine, *, is_loading: bool = False, with_optimizer: bool = True) -> dict[str, Any]:
    """Return the sharded state dict to save, or to load into.

    The weights are the fp32 masters, of frozen parameters too. The optimizer's own copy of the masters is left
    out: they are the same tensors.
    """
    model: Any = engine.model.sharded_state_dict()
    state: dict[str, Any] = {"model": model}
    if with_optimizer:
        # Before the weights are replaced: Megatron finds an optimizer's parameter by the identity of its tensor.
        optimizer = engine.optimizer.sharded_state_dict(model, is_loading=is_loading)
        if "fp32_from_fp16_params" in optimizer:
            optimizer["fp32_from_fp16_params"] = []
        state["optimizer"] = optimizer
    for name, master in engine.masters.items():
        model[name].data = master
    return state


def restore(engine: Engine, checkpoint: Checkpoint, *, with_optimizer: bool) -> None:
    """Load a checkpoint into an engine whose phase has been started.

    Three things here are silently wrong otherwise: the moments must exist before the sharded dict is made
    (``is_loading``), loading must record no gradients, and every parameter needs its own ``step``: sharing one
    tensor, a single step would count once for each parameter.
    """
    loaded = load(checkpoint.path, sharded_state(engine, is_loading=True, with_optimizer=with_optimizer))
    parameters = dict(engine.model.named_parameters())
    with torch.no_grad():
        for name, master in engine.masters.items():
            master.copy_(loaded["model"][name])
            parameters[name].data.copy_(master)
        if with_optimizer:
            engine.optimizer.load_state_dict(loaded["optimizer"])
            for entry in engine.optimizer.optimizer.state.values():
                if "step" in entry:  # TransformerEngine's optimizer counts by group
                    entry["step"] = torch.as_tensor(entry["step"], dtype=torch.float32).clone().to(engine.place.device)
