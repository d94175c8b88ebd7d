"""What a base of any family gives in transformers and on Megatron-Core, to be compared at any layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from by_hand import train_by_hand
from safetensors.torch import load_file
from torch import distributed as dist

from pretrain.checkpoints.checkpoint import Checkpoints
from pretrain.checkpoints.pending import sharded_writing
from pretrain.checkpoints.saving import Saving
from pretrain.config import Phase, PretrainConfig
from pretrain.data.batches import Batch
from pretrain.families import ModelShape, read_shape
from pretrain.megatron.engine import Engine
from pretrain.megatron.model import build_model, padded_vocab_size
from pretrain.megatron.state import sharded_state
from pretrain.parallel import Place
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.checkpoint_tensors import CheckpointTensors
from pretrain.weights.convert import local_weights
from pretrain.weights.export_weights import write_weights

STEPS, LR, BATCH, LENGTH = 6, 1e-2, 4, 32


@dataclass(kw_only=True)
class Outcome:
    """What a base gave."""

    logits_BTV: torch.Tensor  # noqa: N815
    losses: list[float]


def batches(vocab_size: int) -> torch.Tensor:
    """Return the sequences of every step, [steps, batch, length + 1]: the same ones, so that the loss must fall.

    Without id 0: it is Gemma's padding, to whose embedding torch gives no gradient.
    """
    tokens = torch.randint(1, vocab_size, (BATCH, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    tokens[0, 0] = vocab_size - 1  # the row beside the padding
    return tokens.expand(STEPS, -1, -1)


def transformers_outcome(model: Any) -> Outcome:
    """Return the logits of a model of transformers, and the losses of training it by hand with AdamW."""
    tokens = batches(model.config.vocab_size)
    with torch.no_grad():
        logits = model(tokens[0, :, :-1]).logits.clone()
    pairs = [(step[:, :-1], step[:, 1:]) for step in tokens]
    losses = train_by_hand(model, pairs, steps=STEPS, lr=LR)
    return Outcome(logits_BTV=logits, losses=losses)


def build_engine(folder: Path, shape: ModelShape, place: Place, dtype: torch.dtype) -> Engine:
    """Return the engine of a run on a base, as ``pretrain.session`` makes it."""
    model = build_model(shape, place, dtype=dtype, seq_length=LENGTH)
    names = [name for name, _ in model.named_parameters()]
    rows = padded_vocab_size(shape, place.layout.tensor)
    weights = local_weights(names, HuggingFaceWeights(folder), shape, place, vocab_rows=rows)
    config = PretrainConfig(model=folder, tokens=(folder,), out=folder / "out", steps=STEPS, lr=LR)
    return Engine(model, shape, place, weights, config)


def require_round_trip(engine: Engine, folder: Path, work: Path) -> None:
    """Save the engine's weights as a checkpoint, publish them, and require the base's own bits."""
    place = engine.place
    checkpoints = Checkpoints(work / "checkpoints", place, keep=2, saving=Saving(), prepare=sharded_writing)
    checkpoints.save(sharded_state(engine, with_optimizer=False), step=0, state={})
    if place.is_main:
        (work / "model").mkdir(parents=True)
        write_weights(CheckpointTensors(checkpoints.path(0)), work / "model", folder, engine.shape)
        before, after = (load_file(f / "model.safetensors") for f in (folder, work / "model"))
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            assert tensor.dtype == after[name].dtype, name
            assert torch.equal(tensor, after[name]), name
    place.barrier()


def require_zero_padding(engine: Engine, work: Path) -> None:
    """Save the weights again and require that the padding below the vocabulary is still zero."""
    checkpoints = Checkpoints(work / "checkpoints", engine.place, keep=2, saving=Saving(), prepare=sharded_writing)
    checkpoints.save(sharded_state(engine, with_optimizer=False), step=1, state={})
    rows = CheckpointTensors(checkpoints.path(1))("embedding.word_embeddings.weight")
    assert len(rows) == padded_vocab_size(engine.shape, engine.place.layout.tensor)
    assert not rows[engine.shape.vocab_size :].any()
    assert rows[: engine.shape.vocab_size].any(dim=1).all()


def logits_of(engine: Engine, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Return the logits of sequences on every process, whatever its place; the padding is left out."""
    from megatron.core.pipeline_parallel import get_forward_backward_func

    place, shape = engine.place, engine.shape

    def forward(_batches: Any, model: Any) -> Any:
        return model(tokens_BT, torch.arange(tokens_BT.shape[1])[None], None), lambda logits, **_options: logits

    with torch.no_grad():
        results = get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=[iter([tokens_BT]) for _ in engine.model.models],
            model=list(engine.model.models),
            num_microbatches=1,
            seq_length=tokens_BT.shape[1],
            micro_batch_size=len(tokens_BT),
            forward_only=True,
            collect_non_loss_data=True,
        )
    rows = padded_vocab_size(shape, place.layout.tensor) // place.layout.tensor
    mine = torch.zeros(place.layout.tensor, *tokens_BT.shape, rows)
    if place.is_last_stage:
        mine[place.tensor_rank] = results[0]
    if place.world_size > 1:
        dist.all_reduce(mine)
    return torch.cat(list(mine), dim=-1)[..., : shape.vocab_size]


def losses_of(engine: Engine, phase: Phase, *, num_base_tokens: int = 0) -> list[float]:
    """Return the losses of a phase, in microbatches of half a batch."""
    tokens = batches(engine.shape.vocab_size)
    engine.start_phase(phase, num_base_tokens=num_base_tokens)
    losses = []
    for step in range(STEPS):
        halves = tokens[step].split(BATCH // 2)
        parts = [Batch(input_BT=half[:, :-1], label_BT=half[:, 1:].contiguous()) for half in halves]
        [loss] = engine.place.agree(engine.step(parts, share=(step + 1) / STEPS)[0])
        losses.append(loss)
    return losses


def megatron_outcome(engine: Engine) -> Outcome:
    """Return what the engine's model gives, and how all of it trains."""
    logits = logits_of(engine, batches(engine.shape.vocab_size)[0, :, :-1])
    return Outcome(logits_BTV=logits, losses=losses_of(engine, Phase(lr=LR, steps=STEPS)))


def require_parity(folder: Path, expected: Outcome, place: Place, work: Path) -> None:
    """Require the base's bits after a round trip, transformers' logits, and transformers' losses in training."""
    engine = build_engine(folder, read_shape(folder), place, torch.float32)
    require_round_trip(engine, folder, work)
    got = megatron_outcome(engine)
    torch.testing.assert_close(got.logits_BTV, expected.logits_BTV, atol=2e-5, rtol=0)
    assert expected.logits_BTV.std() > 0.1
    assert max(abs(a - b) for a, b in zip(got.losses, expected.losses, strict=True)) < 1e-4
    assert got.losses[0] - got.losses[-1] > 0.01
    require_zero_padding(engine, work)
