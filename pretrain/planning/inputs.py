"""What a run reads: model, layout and tokens, checked one by one and really read."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hanlm.errors import InputError
from hanlm.model_folder import num_base_tokens
from hanlm.publish import refuse_existing
from hanlm.tokens import Tokens, open_tokens, require_fresh
from pretrain.config import PretrainConfig
from pretrain.data.mixture import blends
from pretrain.families import ModelShape
from pretrain.layout import num_processes
from pretrain.planning.findings import Report
from pretrain.planning.parts import Training, model_parameters
from pretrain.train import check_megatron_model, check_tokens

_SAMPLED_SEQUENCES = 32
_MAX_MASKED_SHARE = 0.1
_FEW_NEW_TOKENS = 0.01
"""Share of new tokens in the training text below which the extended rows learn next to nothing."""


def look_at_inputs(config: PretrainConfig, report: Report, *, is_main: bool) -> tuple[ModelShape | None, list[Tokens]]:
    """Check everything a run reads; only the main process reads the tokens whole.

    Returns:
        The model's shape, where it could be read, and the tokens that could be opened.
    """
    report.attempt("output", lambda: refuse_existing(config.out, config.overwrite))
    shape = report.attempt("model", lambda: check_megatron_model(config))
    if shape is not None:
        report.ok("model", f"{config.model}: {model_parameters(shape) / 1e6:,.1f}M parameters, complete and readable")
        if training := report.attempt("layout", lambda: planned_training(config, device="cpu")):
            report.ok("layout", _layout_in_words(config, training))
    opened = [report.attempt("tokens", lambda p=path: open_tokens(p, verify=is_main)) for path in config.tokens]
    tokens = [each for each in opened if each is not None]
    for each in tokens if is_main else ():
        size = sum(s.num_tokens for s in each.sets)
        report.ok("tokens", f"{each.path}: {size:,} tokens, all files whole, every id below {each.vocab_size}")
        with report.guard("tokens"):
            require_fresh(each)
    if shape is None or len(tokens) < len(config.tokens):
        return shape, tokens
    with report.guard("tokenizer"):
        check_tokens(config, shape, tokens)
        report.ok("tokenizer", f"the tokens' hash is the model's ({tokens[0].tokenizer_hash[:12]})")
        if is_main:
            _look_at_batches(config, shape, tokens, report)
    return shape, tokens


def planned_training(config: PretrainConfig, *, device: Any, bytes_per_value: Any = 4) -> Training:
    """Return what decides the memory of a run at its layout, with as many processes as there are, or as it needs.

    Raises:
        ConfigError: If the processes or the batch cannot be divided.
    """
    layout = config.layout
    data_size = layout.data_size(num_processes() or config.num_launched or layout.tensor * layout.pipeline)
    micro_batch = config.micro_batch(data_size=data_size)
    return Training(
        layout=layout,
        data_size=data_size,
        micro_batch_size=micro_batch,
        seq_length=config.seq_length,
        num_micro_batches=config.global_batch_size // data_size // micro_batch,
        bytes_per_value=bytes_per_value,
        device=device,
        recomputes=config.recompute,
        shards_optimizer=config.distributed_optimizer,
    )


def _layout_in_words(config: PretrainConfig, training: Training) -> str:
    layout = training.layout
    stretches = f" ({layout.virtual} stretches of layers a stage)" if layout.virtual > 1 else ""
    return (
        f"tensor {layout.tensor} x pipeline {layout.pipeline}{stretches} x data {training.data_size}; a process takes "
        f"{training.num_micro_batches} x {training.micro_batch_size} of {config.global_batch_size} sequences a step"
    )


def _look_at_batches(config: PretrainConfig, shape: ModelShape, tokens: Sequence[Tokens], report: Report) -> None:
    """Read training sequences as a run does, through Megatron's own data sets, and count what is in them."""
    from pretrain.data.batches import TrainingData
    from pretrain.parallel import Place

    with TemporaryDirectory(prefix="hanlm-doctor-") as folder:
        data = TrainingData(
            [(blends(tokens, config.mix)[0].shares, 1)],
            Place.alone(),
            seq_length=config.seq_length,
            global_batch_size=_SAMPLED_SEQUENCES,
            micro_batch_size=_SAMPLED_SEQUENCES,
            eos_token_id=tokens[0].eos_token_id,
            seed=config.seed,
            cache=Path(folder),
        )
        [batch] = data.step(0)
    labels = batch.label_BT
    if (largest := int(max(labels.max(), batch.input_BT.max()))) >= shape.vocab_size:
        raise InputError(
            f"training sequences hold the id {largest}, but {config.model} has {shape.vocab_size} rows; "
            f"run `hanlm corpus tokenize` with --tokenizer {config.model}."
        )
    masked, borders = float((labels < 0).float().mean()), float((labels == tokens[0].eos_token_id).float().mean())
    text = (
        f"{masked:.1%} of the positions in {_SAMPLED_SEQUENCES} sequences have no loss, {borders:.2%} end a document; "
        f"largest id {largest} of {shape.vocab_size}"
    )
    if masked > _MAX_MASKED_SHARE:
        report.add("warning", "masked", f"{text}; so much is paid for and not learned from: check how texts are packed")
    else:
        report.ok("masked", text)
    _look_at_new_tokens(config, labels, report)


def _look_at_new_tokens(config: PretrainConfig, labels: Any, report: Report) -> None:
    if (base := num_base_tokens(config.model)) is None:
        return
    share = float((labels >= base).float().mean())
    if share < _FEW_NEW_TOKENS:
        report.add(
            "warning",
            "new tokens",
            f"{share:.2%} of the sampled tokens are new ones (ids from {base}): their rows will hardly be trained; "
            "raise the share of Chinese with --mix",
        )
    else:
        report.ok("new tokens", f"{share:.1%} of the sampled tokens are new ones (ids from {base})")
