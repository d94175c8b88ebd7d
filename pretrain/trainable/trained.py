"""How much of a model a phase trains: what its memory and its arithmetic depend on. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hanlm.model_folder import num_base_tokens
from pretrain.config import Phase, PretrainConfig, Rows
from pretrain.families import Cut, ModelShape
from pretrain.trainable.blocks import new_layers
from pretrain.trainable.lora_config import LoraConfig


def trained_rows(phase: Phase, *, has_new: bool) -> Rows:
    """Return which rows of the vocabulary tables a phase trains."""
    if phase.trainable in ("all", "embeddings"):
        return "all"
    rows = phase.rows if phase.trainable in ("lora", "new_blocks") else "new"
    return rows if has_new or rows == "all" else "none"


def num_old_tokens(model: Path, *, vocab_size: int) -> int:
    """Return how many tokens of a model stand before its new ones, by extend-vocab's report; 0 where none are new."""
    base = num_base_tokens(model)
    return base if base is not None and base < vocab_size else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a phase trains of a model."""

    layers: tuple[int, ...]
    """Layers whose own weights train, from 0."""
    num_rows: int
    """Rows of the embedding, and of the output layer where it is another table, that train."""
    rows: Rows
    """Which those are: new ones that train alone are weights of their own beside their table."""
    final_norm: bool
    """Whether the norm before the output layer trains."""
    lora: LoraConfig | None = None
    """The low-rank updates that lie in the model, whether they train or not."""
    trains_lora: bool = False

    @classmethod
    def all_of(cls, shape: ModelShape) -> "Trained":
        """Return what trains where every weight does."""
        return cls(layers=tuple(range(shape.num_layers)), num_rows=shape.vocab_size, rows="all", final_norm=True)

    @property
    def first_layer(self) -> int | None:
        """The first layer that the backward pass reaches, or None where it ends at the output layer."""
        if self.num_rows or self.trains_lora:
            return 0
        return min(self.layers, default=None)


def trained_by(
    phase: Phase,
    shape: ModelShape,
    *,
    num_old: int,
    lora: LoraConfig | None = None,
    blocks: Sequence[int] = (),
) -> Trained:
    """Return what a phase trains of a model.

    Args:
        phase: The phase.
        shape: The model.
        num_old: Tokens before the new ones; 0 where there are no new ones.
        lora: The low-rank updates that lie in the model, as they do in all phases of a run that trains them in one.
        blocks: Layers that `hanlm expand-blocks` added.
    """
    rows = trained_rows(phase, has_new=num_old > 0)
    own = {"all": tuple(range(shape.num_layers)), "new_blocks": tuple(blocks)}
    return Trained(
        layers=own.get(phase.trainable, ()),
        num_rows={"none": 0, "new": shape.vocab_size - num_old, "all": shape.vocab_size}[rows],
        rows=rows,
        final_norm=phase.trainable == "all",
        lora=lora,
        trains_lora=phase.trainable == "lora",
    )


def trained_in_run(config: PretrainConfig, shape: ModelShape) -> list[Trained]:
    """Return what each phase of a run trains."""
    lora = config.lora if config.has_lora else None
    old = num_old_tokens(config.model, vocab_size=shape.vocab_size)
    blocks = new_layers(config.model, num_layers=shape.num_layers)
    phases = config.resolved_phases(has_new_rows=old > 0)
    return [trained_by(phase, shape, num_old=old, lora=lora, blocks=blocks) for phase in phases]


def low_rank_weights(shape: ModelShape, lora: LoraConfig, *, tensor: int = 1) -> int:
    """Return the weights of the updates of one layer on one of so many tensor-parallel processes.

    Of a projection whose outputs are cut B is cut with them, of one whose inputs are cut A is (``lora.py``).
    """
    total = 0
    for weight in shape.weights:
        for name, axes in zip(weight.projections, weight.axes, strict=False):
            if name in lora.projections:
                outputs, inputs = (shape.sizes[axis] for axis in axes)
                is_column = weight.cut is not Cut.COLUMNS
                total += lora.rank * (inputs // (1 if is_column else tensor) + outputs // (tensor if is_column else 1))
    return total
