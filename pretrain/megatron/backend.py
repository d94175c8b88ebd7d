"""The backend on Megatron-Core, for the families that it fits."""

from collections import ChainMap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, cast

from hanlm.devices import resolve_dtype
from pretrain.arrival import Meeting
from pretrain.backend import TrainingEngine
from pretrain.checkpoints.checkpoint import Checkpoint
from pretrain.checkpoints.pending import Writing, sharded_writing
from pretrain.config import Phase, PretrainConfig
from pretrain.export import export_adapter
from pretrain.families import ModelShape
from pretrain.flops import TokenFlops, token_flops
from pretrain.megatron.engine import Engine
from pretrain.megatron.layer_kind import resolve_layers
from pretrain.megatron.model import build_model, padded_vocab_size
from pretrain.megatron.state import restore, sharded_state
from pretrain.parallel import Place, parallel
from pretrain.trainable.adapter import learned_by_megatron, merge
from pretrain.trainable.blocks import new_layers
from pretrain.trainable.lora import add_lora, lora_weights
from pretrain.trainable.trained import Trained, trained_by
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.checkpoint_tensors import CheckpointTensors
from pretrain.weights.convert import local_weights
from pretrain.weights.export_weights import write_weights


class MegatronBackend:
    """Trains a base with Megatron-Core."""

    def __init__(self, config: PretrainConfig, shape: ModelShape) -> None:
        self.config, self.shape = config, shape
        self.vocab_size = shape.vocab_size

    def processes(self, meeting: Meeting) -> AbstractContextManager[Place]:
        """Join the group of processes of the layout."""
        return parallel(self.config.layout, seed=self.config.seed, meeting=meeting)

    def engine(self, place: Place) -> TrainingEngine:
        """Return this process's part of the base."""
        dtype = resolve_dtype(self.config.precision)
        config = self.config
        model = build_model(
            self.shape,
            place,
            dtype=dtype,
            seq_length=config.seq_length,
            recompute=config.recompute,
            layers=resolve_layers(config),
            fp8=config.fp8,
        )
        names = [name for name, _ in model.named_parameters()]
        if config.has_lora:
            add_lora(model, self.shape, place, config.lora, seed=config.seed)
        weights = local_weights(
            names,
            HuggingFaceWeights(self.config.model),
            self.shape,
            place,
            vocab_rows=padded_vocab_size(self.shape, place.layout.tensor),
        )
        both: Any = ChainMap(dict(lora_weights(model)), cast(Any, weights))  # a dict would read the whole base at once
        return _MegatronEngine(model, self.shape, place, both, config)

    def prepare_save(self, tensors: dict[str, Any], folder: Path, place: Place, /, *, in_background: bool) -> Writing:
        """Return how this process writes its part of a sharded state dict."""
        return sharded_writing(tensors, folder, place, in_background=in_background)

    def write_model(self, checkpoint: Path, folder: Path) -> None:
        """Write a checkpoint's weights under the names of the base."""
        tensors = CheckpointTensors(checkpoint)
        update = merge(tensors, self.config.lora) if self.config.has_lora else None
        write_weights(tensors, folder, self.config.model, self.shape, update=update)

    def publish_adapter(self, checkpoint: Path, phases: Sequence[Phase], *, num_base_tokens: int) -> None:
        """Publish what phases of `lora` learned as ``OUT.adapter``."""
        learned = partial(learned_by_megatron, CheckpointTensors(checkpoint), self.config.lora, self.shape)
        export_adapter(self.config, phases, learned, num_base_tokens=num_base_tokens, vocab_size=self.shape.vocab_size)


class _MegatronEngine(Engine):
    """The engine, with the checkpoints of megatron-core's kind, and a count of its arithmetic."""

    _trained: Trained | None = None

    def start_phase(self, phase: Phase, *, num_base_tokens: int) -> None:
        """Set up the phase."""
        super().start_phase(phase, num_base_tokens=num_base_tokens)
        lora = self.config.lora if self.config.has_lora else None
        blocks = new_layers(self.config.model, num_layers=self.shape.num_layers)
        self._trained = trained_by(phase, self.shape, num_old=num_base_tokens, lora=lora, blocks=blocks)

    def state(self, *, with_optimizer: bool) -> dict[str, Any]:
        """Return the sharded state dict."""
        return sharded_state(self, with_optimizer=with_optimizer)

    def restore(self, checkpoint: Checkpoint, *, with_optimizer: bool) -> None:
        """Load the weights and, in the middle of a phase, the moments."""
        restore(self, checkpoint, with_optimizer=with_optimizer)

    def cost(self) -> TokenFlops:
        """Return what a token costs in the current phase."""
        return token_flops(self.shape, self.config.seq_length, self._trained)
