"""Configuration of `hanlm pretrain`: declared once, for flags, YAML and the manifest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from hanlm.devices import Precision
from hanlm.errors import ConfigError
from pretrain.accelerated.options import AccelerateOptions
from pretrain.checkpoints.saving import Saving
from pretrain.launch.config import ClusterConfig, LauncherName, check_launch, processes_per_node
from pretrain.layout import Layout, micro_batch_size
from pretrain.megatron.layer_kind import Fp8, LayerChoice
from pretrain.trainable.lora_config import LoraConfig
from pretrain.trainable.param_groups import check_group_rates
from pretrain.watching.options import FaultOptions, ForgettingOptions


def _numbers(expected: str) -> Callable[[Any, Any], dict[str, float]]:
    """Return what reads ``zh=0.8,en=0.2`` from a flag, or a mapping from YAML or ``--mix.zh 0.8``."""

    def parse(_hint: Any, given: Any) -> dict[str, float]:
        if isinstance(given, Mapping):
            pairs = [(name, tokens[0].value) for name, tokens in given.items()]
        else:
            pairs = [pair.split("=") for token in given for pair in token.value.split(",")]
        try:
            return {str(name): float(number) for name, number in pairs}
        except (TypeError, ValueError):
            raise ConfigError(f"{expected}; got {pairs}.") from None

    return parse


_parse_mix = _numbers("--mix expects LANG=WEIGHT, such as zh=0.8,en=0.2")
_parse_group_lr = _numbers("--group-lr expects GROUP=RATE, such as embeddings=1e-4,norms=1e-3")


type Rows = Literal["none", "new", "all"]
type Trainable = Literal["all", "new_rows", "embeddings", "lora", "new_blocks"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of training with its own trainable weights, rate and schedule."""

    trainable: Trainable = "all"
    """Every weight; only the embedding and output rows of new tokens; the whole embedding and output layer; low-rank
    updates of the linear layers; or the layers that `hanlm expand-blocks` added."""
    rows: Rows = "new"
    """Rows of the embedding and output layer that train beside `lora` and `new_blocks`: those of new tokens, if any, or
    all, or none."""
    lr: float = 1e-3
    """Highest learning rate."""
    group_lr: Mapping[str, float] = field(default_factory=dict[str, float])
    """Highest rates of weights that have one of their own, such as {embeddings: 1e-4}; groups are embeddings, head,
    norms, new_blocks and lora_b."""
    steps: int | None = None
    """Length in optimizer steps."""
    seconds: float | None = None
    """Length in seconds of training; validation and checkpoints do not count."""
    include_earlier: bool = False
    """Whether `seconds` counts the seconds of the phases before."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise ConfigError("a phase needs either steps or seconds, and not both.")
        if (self.steps or self.seconds or 0) <= 0:
            raise ConfigError(f"a phase needs a positive length, got steps={self.steps} seconds={self.seconds}.")
        if self.lr <= 0:
            raise ConfigError(f"a phase needs a positive lr, got {self.lr}.")
        if self.rows != "new" and self.trainable not in ("lora", "new_blocks"):
            raise ConfigError(
                f"rows: {self.rows} belongs to `trainable: lora` or new_blocks, got it beside {self.trainable}; "
                "leave it out."
            )
        check_group_rates(self.group_lr, self.trainable, has_rows=self.rows != "none")

    @property
    def decays(self) -> bool:
        """Whether weights decay: rows of a vocabulary that train without the body do not."""
        return self.trainable in ("all", "lora", "new_blocks")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """Continued pretraining, on Megatron-Core or with transformers and accelerate."""

    model: Path
    """Model folder to start from, such as the result of `extend-vocab`."""
    tokens: tuple[Path, ...]
    """Tokens artifacts, made by `hanlm corpus tokenize` with this model's tokenizer."""
    out: Path
    """Folder of the trained model. `OUT.work` holds checkpoints, `OUT.snapshots` the snapshots."""
    backend: Literal["megatron", "accelerate"] = "megatron"
    """megatron for the families it knows; accelerate for every other causal model that transformers knows."""
    accelerate: AccelerateOptions = field(default_factory=AccelerateOptions)
    """What only the accelerate backend can do."""
    steps: int | None = None
    """Train for this many steps. The run is deterministic."""
    seconds: float | None = None
    """Or: train for this many seconds in all, new rows included; validation and saving do not count."""
    trainable: Trainable = "all"
    """What those steps or seconds train: every weight; the rows of new tokens; the embedding and output layer; low-rank
    updates of the linear layers; or the layers that `hanlm expand-blocks` added."""
    rows: Rows = "new"
    """Rows of the embedding and output layer that train beside `--trainable lora` and `new_blocks`."""
    new_rows_steps: int = 0
    """First train only the rows of new tokens for this many steps; ignored where the model has no new tokens."""
    new_rows_lr: float = 3e-3
    """Highest learning rate of that phase."""
    lr: float = 1e-3
    """Highest learning rate."""
    group_lr: Annotated[dict[str, float], Parameter(converter=_parse_group_lr, n_tokens=1)] = field(
        default_factory=dict[str, float]
    )
    """Highest rates of weights that have one of their own, such as embeddings=1e-4; groups are embeddings, head, norms,
    new_blocks and lora_b."""
    phases: tuple[Phase, ...] = ()
    """Instead of steps or seconds: any list of phases (YAML)."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Of `--trainable lora`, and of phases with it."""
    min_lr_ratio: float = 0.1
    """The cosine ends at this share of the highest rate."""
    warmup_ratio: float = 0.03
    """Share of a phase in which the rate rises linearly from 0."""
    weight_decay: float = 0.1
    """AdamW's decay of matrices; norms never decay, nor does anything while only new rows are trained."""
    adam_beta1: float = 0.9
    """AdamW's decay of the mean gradient."""
    adam_beta2: float = 0.95
    """AdamW's decay of the mean squared gradient."""
    clip_grad: float = 1.0
    """Largest norm of the gradient."""
    seq_length: int = 512
    """Tokens a training sequence holds; documents are packed one after another."""
    isolate_documents: bool = False
    """Let no token attend to another document of its sequence, though they are packed."""
    recompute: bool = False
    """Keep only what enters each layer and compute the rest again for the backward pass: less memory, a third more
    work."""
    global_batch_size: int = 32
    """Sequences a step."""
    micro_batch_size: int | None = None
    """Sequences at once on one process; the rest of a step is accumulated. By default the largest divisor up to 8."""
    precision: Precision = "auto"
    """bf16 keeps fp32 master weights. auto: bf16 on CUDA and on CPUs that multiply bf16, else fp32."""
    mix: Annotated[dict[str, float], Parameter(converter=_parse_mix, n_tokens=1)] = field(
        default_factory=dict[str, float]
    )
    """Share of each language, such as zh=0.8,en=0.2; by default by tokens. zh covers zh-Hans and the like too."""
    tensor_parallel: int = 1
    """Processes that share every layer."""
    pipeline_parallel: int = 1
    """Stages of layers."""
    virtual_pipeline: int = 1
    """Stretches of layers that a stage holds: with more than one a pipeline waits less and sends more."""
    sequence_parallel: bool = False
    """Share the norms' activations over the tensor-parallel processes too."""
    context_parallel: int = 1
    """Processes that share every sequence. Only 1: it needs TransformerEngine's attention, which was never run."""
    layers: LayerChoice = "auto"
    """Of megatron-core with torch's attention (local), or of TransformerEngine (auto: where it and a GPU are there)."""
    fp8: Fp8 | None = None
    """Multiply in fp8, with TransformerEngine: e4m3, or hybrid for e4m3 forward and e5m2 backward."""
    distributed_optimizer: bool = False
    """Share the optimizer's moments (and in bf16 the fp32 weights) over the data-parallel processes."""
    num_evals: int = 4
    """Validations spread evenly over the run, the last at its end; one more comes before the first step."""
    eval_tokens: int = 32_768
    """Tokens a validation scores, in whole documents, shared equally by the validation sets; 0 turns it off."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    save_every: int = 500
    """Steps between two checkpoints; 0 saves only at the end and when stopped."""
    save_seconds: float = 600.0
    """Seconds between two checkpoints, whichever comes first; 0 turns it off."""
    keep_checkpoints: int = 2
    """Latest checkpoints to keep."""
    saving: Saving = field(default_factory=Saving)
    """How checkpoints are written, and which stay."""
    snapshot_every: int = 0
    """Steps between two Hugging Face snapshots in `OUT.snapshots/step-N`; 0 writes none."""
    resume_step: int | None = None
    """Go on from the checkpoint of this step instead of the latest."""
    report_to: tuple[str, ...] = ()
    """Trackers besides metrics.jsonl: tensorboard, wandb, swanlab, trackio."""
    faults: FaultOptions = field(default_factory=FaultOptions)
    """What is done about bad gradients and jumps of the loss."""
    forgetting: ForgettingOptions = field(default_factory=ForgettingOptions)
    """A budget for what a language may lose."""
    launch: LauncherName | None = None
    """Start the processes: here, as a job of Slurm's, as a PyTorchJob on Kubernetes, or over ssh."""
    nodes: int = 1
    """Machines, with --launch."""
    gpus_per_node: int | None = None
    """GPUs of a machine, one process each, with --launch; 0 on machines without."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """How processes are started, and how long they wait for each other."""
    seed: int = 0
    """Decides the order of the data."""
    overwrite: bool = False
    """Replace a finished OUT, at the end; discards checkpoints of a different configuration."""

    def __post_init__(self) -> None:
        self._check_phases()
        self._check_numbers()
        if not self.tokens:
            raise ConfigError("--tokens needs at least one tokens artifact; make one with `hanlm corpus tokenize`.")
        check_launch(self.launch, self.nodes, self.gpus_per_node, self.cluster)

    def _check_phases(self) -> None:
        given = [n for n in ("steps", "seconds", "phases") if getattr(self, n)]
        if len(given) != 1:
            remedy = "say how long to train."
            if given:
                remedy = "leave all but one out (what a --config file says counts too)."
            if "phases" in given:
                remedy = "phases have lengths of their own: change those in the file, or take phases out of it."
            raise ConfigError(
                f"expected exactly one of --steps, --seconds and phases, got {', '.join(given) or 'none'}; {remedy}"
            )
        if self.phases and (self.trainable, self.rows) != ("all", "new"):
            raise ConfigError("--trainable and --rows are for --steps and --seconds; phases say their own.")
        if self.lora != LoraConfig() and not self.has_lora:
            raise ConfigError("--lora.* needs --trainable lora, or a phase with `trainable: lora`.")
        if self.phases and self.group_lr:
            raise ConfigError("--group-lr belongs to --steps and --seconds: give each of the phases its own group_lr.")
        check_group_rates(self.group_lr, self.trainable, has_rows=self.rows != "none")

    def _check_numbers(self) -> None:
        sizes = ("seq_length", "global_batch_size", "micro_batch_size")
        for name in (*sizes, "tensor_parallel", "pipeline_parallel", "virtual_pipeline"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
        if self.context_parallel != 1:
            raise ConfigError(
                f"--context-parallel expects 1, got {self.context_parallel}: it needs TransformerEngine's attention, "
                "with which HanLM was never run; shorten --seq-length, or pass --recompute, or --tensor-parallel with "
                "--sequence-parallel, which divides a sequence's activations too."
            )
        for name in ("min_lr_ratio", "warmup_ratio"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be in [0, 1), got {getattr(self, name)}.")
        if self.keep_checkpoints < 1:
            raise ConfigError(f"--keep-checkpoints must be at least 1, got {self.keep_checkpoints}.")

    @property
    def layout(self) -> Layout:
        """How the model is spread over processes."""
        return Layout(
            tensor=self.tensor_parallel,
            pipeline=self.pipeline_parallel,
            virtual=self.virtual_pipeline,
            sequence_parallel=self.sequence_parallel,
        )

    @property
    def num_launched(self) -> int | None:
        """How many processes --launch starts, or None without it."""
        return self.nodes * processes_per_node(self.gpus_per_node, self.cluster) if self.launch else None

    def micro_batch(self, *, data_size: int) -> int:
        """Return how many sequences each of so many data-parallel ranks takes at once."""
        return micro_batch_size(
            self.global_batch_size,
            self.micro_batch_size,
            data_size=data_size,
            multiple=self.layout.micro_batch_multiple,
        )

    @property
    def has_lora(self) -> bool:
        """Whether a phase trains low-rank updates."""
        return self.trainable == "lora" or any(phase.trainable == "lora" for phase in self.phases)

    def resolved_phases(self, *, has_new_rows: bool) -> tuple[Phase, ...]:
        """Return the phases of this run; those of new rows are left out where the model has none."""
        phases = self.phases
        if not phases:
            main = Phase(
                trainable=self.trainable,
                rows=self.rows,
                lr=self.lr,
                group_lr=self.group_lr,
                steps=self.steps,
                seconds=self.seconds,
                include_earlier=True,
            )
            phases = (main,)
            if self.new_rows_steps:
                phases = (Phase(trainable="new_rows", lr=self.new_rows_lr, steps=self.new_rows_steps), *phases)
        kept = tuple(p for p in phases if has_new_rows or p.trainable != "new_rows")
        if not kept:
            raise ConfigError(f"every phase trains new rows, but {self.model} has no new tokens; extend it first.")
        return kept


def adapter_folder(out: Path) -> Path:
    """Return where the adapter of a run is published, beside its model."""
    return out.with_name(out.name + ".adapter")
