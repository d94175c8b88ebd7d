"""Which layers a run is built of: megatron-core's own around torch's attention, or TransformerEngine's.

Those of TransformerEngine need CUDA, and they alone compute in fp8. docs/pretrain/parallelism.md says what was run.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from hanlm.errors import ConfigError
from pretrain.families import ModelShape

if TYPE_CHECKING:
    from pretrain.config import PretrainConfig

type LayerKind = Literal["local", "transformer-engine"]
type LayerChoice = Literal["auto", "local", "transformer-engine"]
type Fp8 = Literal["hybrid", "e4m3"]

FP8_MULTIPLE = 16
"""What the sides of a matrix have to be a multiple of to be multiplied in fp8."""


def resolve_layers(config: "PretrainConfig") -> LayerKind:
    """Return the layers of a run; ``auto`` takes TransformerEngine's where nothing is in their way.

    Raises:
        ConfigError: If they were asked for, or are needed, and something is.
    """
    asked = "--layers transformer-engine" if config.layers == "transformer-engine" else ""
    asked = f"--fp8 {config.fp8}" if config.fp8 else asked
    obstacle = "--layers local" if config.layers == "local" else _obstacle(config)
    if obstacle is None:
        return "transformer-engine"
    if asked:
        raise ConfigError(f"{asked} expects layers of TransformerEngine, got {obstacle}; leave {asked} out.")
    return "local"


def _obstacle(config: "PretrainConfig") -> str | None:
    """Return why a run cannot have TransformerEngine's layers."""
    if config.has_lora:
        return "phases of lora, which need what a norm gives and these layers keep to themselves"
    if config.isolate_documents:
        return "--isolate-documents, whose mask their attention does not look at"
    if find_spec("transformer_engine") is None:
        return "a Python without it (install transformer-engine[pytorch])"
    import torch

    if not torch.cuda.is_available():
        return "a machine without a GPU that torch sees"
    try:
        import_module("transformer_engine.pytorch")
    except (ImportError, OSError) as error:
        return f"one that cannot be imported ({error})"
    return None


def check_fp8(config: "PretrainConfig", shape: ModelShape) -> None:
    """Refuse what cannot be multiplied in fp8.

    Raises:
        ConfigError: Names the precision or the size that does not fit.
    """
    if config.fp8 is None:
        return
    if config.precision == "fp32":
        raise ConfigError("--fp8 expects --precision bf16, got fp32; leave one of the two out.")
    tensor = config.tensor_parallel
    sizes = {
        "hidden size": shape.hidden_size,
        "feed-forward size": shape.ffn_size // tensor,
        "queries of a process": shape.sizes["Q"] // tensor,
        "keys of a process": shape.sizes["K"] // tensor,
        "--seq-length of a process": config.seq_length // (tensor if config.sequence_parallel else 1),
    }
    for name, size in sizes.items():
        if size % FP8_MULTIPLE:
            raise ConfigError(f"--fp8 expects a {name} divisible by {FP8_MULTIPLE}, got {size}; train without --fp8.")
