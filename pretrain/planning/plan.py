"""`hanlm plan`: layouts for a model on so many GPUs, best first, with what they take and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from hanlm.errors import ConfigError
from pretrain.config import Phase, Rows, Trainable
from pretrain.families import ModelShape, read_shape
from pretrain.flops import token_flops
from pretrain.layout import Layout
from pretrain.planning.cost import checkpoint_bytes, disk_bytes, training_hours
from pretrain.planning.gpus import Gpu, find_gpu
from pretrain.planning.layouts import Proposal, Search, reason, search, shortage
from pretrain.planning.parts import Training, model_parameters, trained_parameters
from pretrain.planning.speed import EFFICIENCY, LATENCY_SECONDS, RATE, Machine
from pretrain.trainable.blocks import new_layers
from pretrain.trainable.lora_config import LoraConfig, check_projections
from pretrain.trainable.trained import Trained, num_old_tokens, trained_by

_BF16_BYTES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanConfig:
    """What is to be trained, and on what."""

    model: Path
    """Model folder; its config.json is enough."""
    gpus: int
    """GPUs in all."""
    gpu: str = "h100"
    """Their kind: a100, h100, h200, b200, h800, a800, h20, l40s, rtx4090 …"""
    tokens: float = 1e9
    """Tokens to train on, such as 20e9."""
    seq_length: int = 2048
    """Tokens a training sequence holds."""
    global_batch_size: int = 256
    """Sequences a step."""
    gpus_per_node: int = 8
    """GPUs of one server."""
    trainable: Trainable = "all"
    """What is trained, as `hanlm pretrain` has it."""
    rows: Rows = "new"
    """Rows of the embedding and output layer that train beside `--trainable lora` and `new_blocks`."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Of `--trainable lora`."""
    price_per_gpu_hour: float | None = None
    """In any currency; without it hours are told, and no cost."""
    keep_checkpoints: int = 2
    """Latest checkpoints to keep."""
    num_snapshots: int = 0
    """Hugging Face snapshots that the run will publish."""
    efficiency: float = EFFICIENCY
    """Share of the peak that matrix products reach; set it after a first run."""
    gpu_memory_gb: float | None = None
    """Memory of a GPU that is not in the table."""
    gpu_tflops: float | None = None
    """Dense bf16 rate of a GPU that is not in the table."""
    show: int = 6
    """Layouts to show."""

    def __post_init__(self) -> None:
        for name in ("gpus", "seq_length", "global_batch_size", "gpus_per_node", "keep_checkpoints", "show"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")
        for name in ("tokens", "gpu_memory_gb", "gpu_tflops"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ConfigError(f"--{name.replace('_', '-')} must be positive, got {value}.")
        if self.num_snapshots < 0 or (self.price_per_gpu_hour or 0) < 0:
            raise ConfigError("--num-snapshots and --price-per-gpu-hour must not be negative.")
        if not 0 < self.efficiency <= 1:
            raise ConfigError(f"--efficiency must be in (0, 1], got {self.efficiency}.")
        if self.gpus > self.gpus_per_node and self.gpus % self.gpus_per_node:
            raise ConfigError(
                f"--gpus {self.gpus} is not a whole number of servers of {self.gpus_per_node}; choose a multiple, or "
                "say --gpus-per-node."
            )
        if self.lora != LoraConfig() and self.trainable != "lora":
            raise ConfigError("--lora.* needs --trainable lora.")
        check_projections(self.lora)
        _phase(self)
        find_gpu(self.gpu)


def _phase(config: PlanConfig) -> Phase:
    return Phase(trainable=config.trainable, rows=config.rows, steps=1)


def _trained(config: PlanConfig, shape: ModelShape) -> Trained:
    """Return what is trained of the model.

    Raises:
        ConfigError: If it has nothing of the kind.
    """
    found = trained_by(
        _phase(config),
        shape,
        num_old=num_old_tokens(config.model, vocab_size=shape.vocab_size),
        lora=config.lora if config.trainable == "lora" else None,
        blocks=new_layers(config.model, num_layers=shape.num_layers),
    )
    if config.trainable == "new_rows" and not found.num_rows:
        raise ConfigError(f"{config.model} has no new tokens to train rows of; extend it first, or plan another phase.")
    if config.trainable == "new_blocks" and not found.layers:
        raise ConfigError(f"{config.model} has no new_blocks; make it deeper with `hanlm expand-blocks` first.")
    return found


def plan_layouts(config: PlanConfig) -> None:
    """Print layouts for a model, best first.

    Raises:
        ConfigError: If no layout fits.
        InputError: If the model is of no family that can be pretrained.
    """
    shape, machine = read_shape(config.model), _machine(config)
    found = _search(config, shape, machine)
    for line in (
        *_head(config, shape, machine),
        *_share(config, shape),
        "",
        *_table(config, found, machine),
        *_rest(found, machine),
    ):
        print(line)
    if not found.fitting:
        raise ConfigError(f"no layout of {config.model} fits {config.gpus} x {config.gpu}; {_advice(found, machine)}")
    print()
    for line in _totals(config, shape, found.fitting[0]):
        print(line)


def plan(config: PlanConfig) -> list[str]:
    """Return what `hanlm plan` would look at."""
    shape = read_shape(config.model)
    return [
        f"look for layouts of {config.model} ({model_parameters(shape) / 1e9:.2f}B parameters) on "
        f"{config.gpus} x {config.gpu} and print them; nothing is written"
    ]


def _search(config: PlanConfig, shape: ModelShape, machine: Machine) -> Search:
    lengths = {"seq_length": config.seq_length, "global_batch_size": config.global_batch_size}
    return search(shape, machine, **lengths, trained=_trained(config, shape))


def _machine(config: PlanConfig) -> Machine:
    gpu: Gpu = find_gpu(config.gpu)
    gpu = replace(
        gpu,
        memory_gb=config.gpu_memory_gb or gpu.memory_gb,
        bf16_tflops=config.gpu_tflops or gpu.bf16_tflops,
    )
    per_node = min(config.gpus_per_node, config.gpus)
    return Machine(gpu=gpu, num_gpus=config.gpus, gpus_per_node=per_node, efficiency=config.efficiency)


def _head(config: PlanConfig, shape: ModelShape, machine: Machine) -> list[str]:
    gpu = machine.gpu
    return [
        f"{config.model}: {shape.num_layers} layers, {shape.hidden_size} wide, {shape.vocab_size} tokens, "
        f"{model_parameters(shape) / 1e9:.2f}B parameters, {_operations(config, shape):.3g} "
        f"operations a token (forward and backward, {config.seq_length} tokens a sequence)",
        f"{config.gpus} x {gpu.name}: {gpu.memory_gb:g} GB, {gpu.bf16_tflops:g} TFLOP/s in bf16, "
        f"{gpu.link_gb_per_second:g} GB/s "
        f"to a neighbour, {gpu.network_gb_per_second:g} GB/s to another server ({gpu.source})",
    ]


def _operations(config: PlanConfig, shape: ModelShape) -> int:
    return token_flops(shape, config.seq_length, _trained(config, shape)).training


def _share(config: PlanConfig, shape: ModelShape) -> list[str]:
    """Return a line on how much is trained, where it is not all."""
    if config.trainable == "all":
        return []
    whole = Training(layout=Layout(), micro_batch_size=1, seq_length=1, trained=_trained(config, shape))
    return [
        f"{config.trainable.replace('_', ' ')}: {trained_parameters(shape, whole, 0) / 1e6:,.1f}M parameters are "
        "trained; the others have no gradients and no moments"
    ]


def _table(config: PlanConfig, found: Search, machine: Machine) -> list[str]:
    if not found.fitting:
        return []
    headers = ["", "TP", "PP", "DP", "micro", "GB/GPU", "tokens/s", "MFU", "hours", "cost"]
    rows = [_row(config, i, p) for i, p in enumerate(found.fitting[: config.show], start=1)]
    if config.price_per_gpu_hour is None:
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    lines = _aligned([headers, *rows])
    for i, proposal in enumerate(found.fitting[: config.show]):
        lines.insert(1 + 3 * i + 1, f"     {proposal.flags}")
        lines.insert(1 + 3 * i + 2, f"     {reason(proposal, machine)}")
    if (more := len(found.fitting) - config.show) > 0:
        lines.append(f"{more} more fit and should be slower (--show {len(found.fitting)})")
    return lines


def _row(config: PlanConfig, number: int, proposal: Proposal) -> list[str]:
    training = proposal.training
    hours = training_hours(config.tokens, tokens_per_second=proposal.tokens_per_second)
    return [
        f"{number}.",
        str(training.layout.tensor),
        str(training.layout.pipeline),
        str(training.data_size),
        f"{training.micro_batch_size} x {training.num_micro_batches}",
        f"{proposal.memory.total / 1e9:.1f}",
        f"{proposal.tokens_per_second:,.0f}",
        f"{proposal.mfu:.0%}",
        f"{hours:,.1f}",
        f"{hours * config.gpus * (config.price_per_gpu_hour or 0):,.0f}",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _rest(found: Search, machine: Machine) -> list[str]:
    """Return what does not fit, and why."""
    lines = [""] if found.too_large or found.impossible else []
    for proposal in found.too_large:
        layout = proposal.training.layout
        lines.append(f"too large: tensor {layout.tensor} x pipeline {layout.pipeline}: {shortage(proposal, machine)}")
    by_reason: dict[str, list[str]] = {}
    for name, why in found.impossible.items():
        by_reason.setdefault(why, []).append(name)
    lines += [f"impossible: {', '.join(names)}: {why}" for why, names in by_reason.items()]
    return lines


def _advice(found: Search, machine: Machine) -> str:
    if found.too_large:
        best = found.too_large[0]
        return (
            f"the smallest {shortage(best, machine)}: take more GPUs or larger ones, a shorter --seq-length, or train "
            "fewer weights."
        )
    return "every layout is ruled out by the model or the batch: change --global-batch-size or the number of GPUs."


def _totals(config: PlanConfig, shape: ModelShape, best: Proposal) -> list[str]:
    steps = config.tokens / (config.global_batch_size * config.seq_length)
    operations = _operations(config, shape) * config.tokens
    trained = _trained(config, shape)
    room = disk_bytes(
        shape,
        keep_checkpoints=config.keep_checkpoints,
        num_models=config.num_snapshots + 1,
        bytes_per_weight=_BF16_BYTES,
        trained=trained,
    )
    memory = {part.name: getattr(best.memory, part.name) for part in fields(best.memory) if part.name != "stage"}
    parts = ", ".join(f"{name} {num_bytes / 1e9:.1f}" for name, num_bytes in memory.items())
    return [
        f"a run of {config.tokens:.3g} tokens: {steps:,.0f} steps of {config.global_batch_size} x {config.seq_length}, "
        f"{operations:.3g} operations",
        f"disk: {room / 1e9:.1f} GB (a checkpoint takes {checkpoint_bytes(shape, trained) / 1e9:.1f} GB: "
        f"{config.keep_checkpoints} kept, one being written, and {config.num_snapshots + 1} models in bf16)",
        f"memory of the first, in GB: {parts}",
        f"speeds are estimates from data sheets: products at {config.efficiency:.0%} of the peak, memory and links at "
        f"{RATE:.0%} of theirs, {LATENCY_SECONDS * 1e6:.0f} us a collective, no overlap; measure a few hundred steps "
        "before you believe them",
    ]
