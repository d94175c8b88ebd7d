"""`hanlm pretrain`: continued pretraining, in one process or under torchrun."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanlm.errors import ConfigError, InputError
from hanlm.log import check_reporters, say
from hanlm.model_folder import check_model_folder, num_base_tokens
from hanlm.publish import refuse_existing, work_folder
from hanlm.tokenizing import require_same_tokenizer, tokenizer_hash
from hanlm.tokens import Tokens, open_tokens, require_fresh
from pretrain.accelerated.inputs import BaseSize, check_base, check_options
from pretrain.config import Phase, PretrainConfig
from pretrain.data.mixture import Blend, blend_steps, blends, over_epochs, total_steps
from pretrain.families import ModelShape, read_shape
from pretrain.layout import check_layout, num_processes
from pretrain.megatron.layer_kind import check_fp8, resolve_layers
from pretrain.trainable.blocks import new_layers
from pretrain.trainable.lora_config import check_projections
from pretrain.trainable.trained import trained_rows
from pretrain.watching.checks import check_forgetting, forgetting_plan

if TYPE_CHECKING:
    from pretrain.backend import Backend

__all__ = ["Phase", "PretrainConfig", "plan", "pretrain"]


def pretrain(config: PretrainConfig) -> Path | None:
    """Train a model on tokens and publish it; run the same command again to resume.

    Returns:
        The model artifact, or None where a job was submitted that trains it later.

    Raises:
        ConfigError: If a flag does not fit the model or the processes.
        InputError: If the model cannot be used.
        ArtifactError: If tokens or checkpoints are damaged or do not belong to the model.
        Interrupted: If a signal stopped the run after saving.
    """
    if config.launch:
        from pretrain.launch.start import launch

        if is_checked_here(config):
            check_inputs(config, verify=False)
        return launch(config)
    shape, tokens = check_inputs(config, verify=True)
    from pretrain.session import run_session

    return run_session(config, _backend(config, shape), tokens)


def _backend(config: PretrainConfig, shape: ModelShape | BaseSize) -> "Backend":
    if isinstance(shape, ModelShape):
        from pretrain.megatron.backend import MegatronBackend

        return MegatronBackend(config, shape)
    from pretrain.accelerated.backend import AccelerateBackend

    return AccelerateBackend(config, vocab_size=shape.vocab_size)


def plan(config: PretrainConfig) -> list[str]:
    """Return what `hanlm pretrain` would do, after checking its inputs cheaply."""
    if not is_checked_here(config):
        return [f"{config.model} is not on this machine: the job checks its inputs itself", *_launch_lines(config)]
    shape, tokens = check_inputs(config, verify=False)
    blended = blends(tokens, config.mix)
    num_tokens = sum({s: s.num_tokens for b in blended for s in b.shares}.values())
    lines = [
        f"train {config.model} ({shape.num_layers} layers, {shape.hidden_size} wide, {shape.vocab_size} tokens) "
        f"on {num_tokens} tokens: {_percentages(blended)}"
    ]
    phases = config.resolved_phases(has_new_rows=has_new_rows(config, shape))
    lines += _warnings(config, tokens, blended, total_steps(phases))
    if config.backend == "accelerate":
        lines.append("with transformers and accelerate, the whole model on every process")
    for phase in phases:
        length = f"{phase.steps} steps" if phase.steps else f"{phase.seconds:g} seconds"
        rates = [f"{phase.lr:g}", *(f"{rate:g} for {group}" for group, rate in phase.group_lr.items())]
        lines.append(f"{length} of {_trainable_in_words(config, phase)} at a rate of up to {', '.join(rates)}")
    ranks = config.layout.data_size(_num_processes(config, is_plan=True))
    lines.append(
        f"a step: {config.global_batch_size} sequences of {config.seq_length} tokens, "
        f"{config.micro_batch(data_size=ranks)} at once on each of {ranks} data-parallel ranks"
    )
    lines += forgetting_plan(config.forgetting, config.num_evals)
    return [*lines, f"publish {config.out}", *_launch_lines(config)]


def _trainable_in_words(config: PretrainConfig, phase: Phase) -> str:
    if phase.trainable != "lora":
        return phase.trainable.replace("_", " ")
    targets = ", ".join(config.lora.targets)
    return f"LoRA of rank {config.lora.rank} on {targets}, beside {phase.rows} rows of the vocabulary"


def _launch_lines(config: PretrainConfig) -> list[str]:
    if config.launch is None:
        return []
    from pretrain.launch.start import plan_launch

    return plan_launch(config)


def is_checked_here(config: PretrainConfig) -> bool:
    """Say whether the inputs can be looked at: only a volume of Kubernetes may be out of sight."""
    return config.launch != "kubernetes" or config.model.exists()


def _percentages(blended: Sequence[Blend]) -> str:
    if len(blended) > 1:
        return "; ".join(f"{b.name} ({b.share:.0%} of the steps): {_percentages([b])}" for b in blended)
    by_lang: dict[str, float] = {}
    for each, share in blended[0].shares.items():
        by_lang[each.lang] = by_lang.get(each.lang, 0.0) + share
    return ", ".join(f"{share:.0%} {lang}" for lang, share in by_lang.items())


def _warnings(
    config: PretrainConfig, tokens: Sequence[Tokens], blended: Sequence[Blend], num_steps: int | None
) -> list[str]:
    """Say where the run is longer than the tokens' mix was reckoned for."""
    if config.mix or num_steps is None or tokens[0].mix is None:
        return []
    num_tokens = num_steps * config.global_batch_size * config.seq_length
    return [
        f"{name} would be seen {epochs:.1f} times, which is more than the mix's max_epochs: it was reckoned for "
        f"{tokens[0].mix['total_tokens']} tokens, this run takes {num_tokens}"
        for name, epochs in over_epochs(tokens[0], blended, num_tokens).items()
    ]


def _num_processes(config: PretrainConfig, *, is_plan: bool) -> int:
    """Return how many processes there are; outside torchrun a plan takes as many as the layout needs at least."""
    return (
        num_processes() or config.num_launched or (config.tensor_parallel * config.pipeline_parallel if is_plan else 1)
    )


def check_inputs(config: PretrainConfig, *, verify: bool) -> tuple[ModelShape | BaseSize, list[Tokens]]:
    """Refuse inputs that cannot be trained on, before anything heavy starts and anything is written.

    Args:
        config: The configuration.
        verify: Whether to read the tokens whole, and to count the processes: a plan does neither.
    """
    refuse_existing(config.out, config.overwrite)
    check_reporters(config.report_to)
    shape = check_model(config)
    config.micro_batch(data_size=config.layout.data_size(_num_processes(config, is_plan=not verify)))
    tokens = [open_tokens(path, verify=verify) for path in config.tokens]
    check_tokens(config, shape, tokens)
    if verify and not (work_folder(config.out) / "checkpoints").is_dir():  # a run that goes on keeps its tokens
        for each in tokens:
            require_fresh(each)
    blended = blends(tokens, config.mix)
    num_steps = total_steps(config.resolved_phases(has_new_rows=has_new_rows(config, shape)))
    if len(blended) > 1:
        blend_steps(blended, num_steps)
    shares = [b.shares for b in blended]
    check_forgetting(config.forgetting, tokens, shares, eval_tokens=config.eval_tokens, num_evals=config.num_evals)
    for line in _warnings(config, tokens, blended, num_steps) if verify else []:
        say(line)
    return shape, tokens


def check_model(config: PretrainConfig) -> ModelShape | BaseSize:
    """Return how large a model is that its backend can train; refuse any other."""
    check_options(config)
    if config.backend == "megatron":
        return check_megatron_model(config)
    size = check_base(config)
    _check_phases(config, size)
    return size


def check_megatron_model(config: PretrainConfig) -> ModelShape:
    """Return the shape of a model that Megatron-Core can train at the layout; refuse any other."""
    from pretrain.weights.base_weights import HuggingFaceWeights

    shape = read_shape(config.model)  # first: for an unsuitable family no other sentence helps
    check_model_folder(
        config.model,
        code_remedy="pretrain runs none: in a copy of a plain LLaMA take that key out, or choose another base",
    )
    check_layout(shape, config.layout, seq_length=config.seq_length)
    check_projections(config.lora)
    check_fp8(config, shape)
    if config.launch in (None, "local"):  # elsewhere other machines train, and look for themselves
        resolve_layers(config)
    HuggingFaceWeights(config.model).check(shape)
    _check_phases(config, shape)
    return shape


def _check_phases(config: PretrainConfig, shape: ModelShape | BaseSize) -> None:
    """Refuse phases that train what the model does not have."""
    phases = config.resolved_phases(has_new_rows=has_new_rows(config, shape))
    has_blocks = bool(new_layers(config.model, num_layers=shape.num_layers))
    if any(p.trainable == "new_blocks" or "new_blocks" in p.group_lr for p in phases) and not has_blocks:
        raise ConfigError(
            f"a phase trains new_blocks, but {config.model} has none; make it deeper with `hanlm expand-blocks` first."
        )
    _refuse_idle_rates(config, phases, has_new=has_new_rows(config, shape))
    if shape.is_tied and any("head" in p.group_lr for p in phases):
        raise ConfigError(
            f"group_lr names head, but the output layer of {config.model} is its embedding; give embeddings a rate."
        )


def _refuse_idle_rates(config: PretrainConfig, phases: Sequence[Phase], *, has_new: bool) -> None:
    """Refuse rates of rows in phases that train none, because the model has no new ones."""
    for phase in phases:
        rates = [name for name in ("embeddings", "head") if name in phase.group_lr]
        if rates and trained_rows(phase, has_new=has_new) == "none":
            raise ConfigError(
                f"group_lr names {' and '.join(rates)}, but {config.model} has no new tokens and the phase trains no "
                "other rows; leave it out, or give the phase `rows: all`."
            )


def check_tokens(config: PretrainConfig, shape: ModelShape | BaseSize, tokens: Sequence[Tokens]) -> None:
    """Refuse tokens of another tokenizer than the model's."""
    model_hash = tokenizer_hash(config.model)
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


def has_new_rows(config: PretrainConfig, shape: ModelShape | BaseSize) -> bool:
    """Return whether the model's vocabulary was extended."""
    base = num_base_tokens(config.model)
    if base is not None and base > shape.vocab_size:
        raise ConfigError(
            f"{config.model}/vocab_report.json speaks of {base} base tokens, but the model has {shape.vocab_size}; "
            "it belongs to another model: run extend-vocab again."
        )
    return base is not None and base < shape.vocab_size
