"""`hanlm pretrain`: continued pretraining, in one process or under torchrun."""

from pathlib import Path

from hanlm.errors import ConfigError, InputError
from hanlm.model_folder import check_model_folder, num_base_tokens
from hanlm.publish import refuse_existing
from hanlm.tokenizing import require_same_tokenizer, tokenizer_hash
from hanlm.tokens import Tokens, open_tokens
from pretrain.config import Phase, PretrainConfig
from pretrain.families import ModelShape, read_shape

__all__ = ["Phase", "PretrainConfig", "plan", "pretrain"]


def pretrain(config: PretrainConfig) -> Path:
    """Train a model on tokens and publish it; run the same command again to resume.

    Returns:
        The model artifact.

    Raises:
        ConfigError: If a flag does not fit the model or the processes.
        InputError: If the model cannot be used.
        ArtifactError: If tokens or checkpoints are damaged or do not belong to the model.
        Interrupted: If a signal stopped the run after saving.
    """
    shape, tokens = check_inputs(config, verify=True)
    from pretrain.session import run_session

    return run_session(config, shape, tokens)


def plan(config: PretrainConfig) -> list[str]:
    """Return what `hanlm pretrain` would do, after checking its inputs cheaply."""
    shape, tokens = check_inputs(config, verify=False)
    train = sum(s.num_tokens for t in tokens for s in t.sets if s.split == "train")
    lines = [
        f"train {config.model} ({shape.num_layers} layers, {shape.hidden_size} wide, {shape.vocab_size} tokens) "
        f"on {train} tokens"
    ]
    for phase in config.resolved_phases(has_new_rows=has_new_rows(config, shape)):
        length = f"{phase.steps} steps" if phase.steps else f"{phase.seconds:g} seconds"
        lines.append(f"{length} of {phase.trainable.replace('_', ' ')} at a rate of up to {phase.lr:g}")
    return [*lines, f"publish {config.out}"]


def check_inputs(config: PretrainConfig, *, verify: bool) -> tuple[ModelShape, list[Tokens]]:
    """Refuse inputs that cannot be trained on, before anything heavy starts."""
    from pretrain.convert import HuggingFaceWeights
    from pretrain.layout import Layout, check_layout

    refuse_existing(config.out, config.overwrite)
    check_model_folder(config.model)
    shape = read_shape(config.model)
    HuggingFaceWeights(config.model).check(shape)
    model_hash = tokenizer_hash(config.model)
    tokens = [open_tokens(path, verify=verify) for path in config.tokens]
    for each in tokens:
        require_same_tokenizer(
            str(each.path),
            each.tokenizer_hash,
            str(config.model),
            model_hash,
            f"run `hanlm corpus tokenize` with --tokenizer {config.model}.",
        )
        if each.vocab_size > shape.vocab_size:
            raise InputError(
                f"{each.path} holds ids of a vocabulary of {each.vocab_size}, but {config.model} has "
                f"{shape.vocab_size} rows; run `hanlm corpus tokenize` with --tokenizer {config.model}."
            )
    layout = Layout(
        tensor=config.tensor_parallel, pipeline=config.pipeline_parallel, sequence_parallel=config.sequence_parallel
    )
    check_layout(shape, layout, seq_length=config.seq_length)
    config.resolved_phases(has_new_rows=has_new_rows(config, shape))
    return shape, tokens


def has_new_rows(config: PretrainConfig, shape: ModelShape) -> bool:
    """Return whether the model's vocabulary was extended."""
    base = num_base_tokens(config.model)
    if base is not None and base > shape.vocab_size:
        raise ConfigError(
            f"{config.model}/vocab_report.json speaks of {base} base tokens, but the model has {shape.vocab_size}; "
            "it belongs to another model: run extend-vocab again."
        )
    return base is not None and base < shape.vocab_size
