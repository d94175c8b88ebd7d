"""What can be set for fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from hanlm.config import to_plain
from hanlm.devices import Device, Precision
from hanlm.errors import ConfigError
from hanlm.quarantine import MAX_QUARANTINED

type Embeddings = Literal["none", "new", "all"]

_POSITIVE = (
    "lora_rank",
    "lora_alpha",
    "lr",
    "epochs",
    "batch_size",
    "accumulation",
    "max_length",
    "log_steps",
    "save_steps",
)
_NOT_DECISIVE = ("out", "overwrite", "preview", "report_to", "log_steps", "save_steps", "keep_work")


@dataclass(frozen=True, kw_only=True, slots=True)
class SftConfig:
    """Fine-tune a model on instructions with LoRA; write the adapter and the merged chat model."""

    model: Path
    """Model folder to start from."""
    data: tuple[Path, ...]
    """JSON or JSON lines (also .gz, .zst) of Alpaca rows (instruction, input, output), messages, or ShareGPT rows."""
    out: Path | None = None
    """Where to write; holds `adapter/` and `model/`, each an artifact. Only --preview needs none."""
    repeat: tuple[float, ...] = ()
    """How often an epoch shows the rows of each --data in turn; fractions show a part. One number a file; default 1."""
    chat_template: Path | None = None
    """Jinja file with generation markers. Default: the model's own if it has markers, else Alpaca in Chinese."""

    lora_rank: int = 16
    """Rank of the update of every target matrix."""
    lora_alpha: float = 32.0
    """The update is scaled by alpha / rank."""
    lora_dropout: float = 0.0
    """Dropout on the input of the update."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that get an update (q_proj v_proj …); all-linear: every linear layer but the output."""
    train_embeddings: Embeddings = "none"
    """Also train embedding and output rows: of the tokens that extend-vocab added, or all. Only they are saved."""

    lr: float = 2e-4
    """Peak learning rate (AdamW)."""
    warmup: float = 0.03
    """Share of the training during which the learning rate rises; then it falls as a cosine to zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay on the update."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    epochs: float = 3.0
    """Passes over the data."""
    max_steps: int | None = None
    """At most so many optimizer steps."""
    seconds: float | None = None
    """At most so many seconds of training; the learning rate's fall then follows the clock as well."""
    batch_size: int = 16
    """Rows a step and device."""
    accumulation: int = 1
    """Batches whose gradients are summed for one step."""
    max_length: int = 512
    """Longer rows are cut, in tokens; a row whose answer begins later is dropped and counted."""

    valid_fraction: float = 0.02
    """Share of the rows, chosen by the hash of their text, held out for the loss before and after; 0 for none."""
    max_quarantined: float = MAX_QUARANTINED
    """Share of malformed rows above which the run fails."""
    precision: Precision = "auto"
    """auto: bf16 on CUDA and on CPUs that multiply bf16 (AMX), else fp32."""
    device: Device = "auto"
    """auto: cuda where there is one."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    log_steps: int = 10
    """Steps between lines of metrics.jsonl."""
    save_steps: int = 200
    """Steps between checkpoints in OUT.work, from which the same command resumes."""
    report_to: tuple[str, ...] = ()
    """More trackers beside metrics.jsonl: tensorboard, wandb, swanlab, trackio."""
    preview: int = 0
    """Print so many rendered rows with the tokens that bear loss coloured, and do not train."""
    trust_remote_code: bool = False
    """Let a model folder run Python of its own (auto_map). Only for code that you have read."""
    keep_work: bool = False
    """Keep OUT.work with its checkpoints after success."""
    seed: int = 0
    """Decides the adapter's start, the order of rows, and dropout."""
    overwrite: bool = False
    """Replace a finished OUT, and drop an unfinished run with other settings."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} should be above 0, got {getattr(self, name)}.")
        for name in ("max_steps", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} should be above 0 or left out, got {value}.")
        for name in ("lora_dropout", "warmup", "valid_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} should be at least 0 and below 1, got {getattr(self, name)}.")
        if self.out is None and not self.preview:
            raise ConfigError("expected --out, a folder to write to; pass it, or --preview 3 to look at rows first.")
        if self.preview < 0:
            raise ConfigError(f"preview should be at least 0, got {self.preview}.")
        if not self.data:
            raise ConfigError("data should name at least one file of instructions, got none.")
        if self.repeat and (len(self.repeat) != len(self.data) or min(self.repeat) < 0 or not any(self.repeat)):
            raise ConfigError(
                f"repeat should give one number of at least 0 for each of the {len(self.data)} data files and not "
                f"only zeros, got {list(self.repeat)}."
            )
        for name, choices in (("device", Device), ("precision", Precision), ("train_embeddings", Embeddings)):
            if getattr(self, name) not in get_args(choices.__value__):
                raise ConfigError(
                    f"{name} is one of {', '.join(get_args(choices.__value__))}; got {getattr(self, name)!r}."
                )

    def repeats(self) -> tuple[float, ...]:
        """Return how often an epoch shows the rows of each data path."""
        return self.repeat or (1.0,) * len(self.data)

    def decisive(self) -> dict[str, object]:
        """Return the settings that decide the weights; a resumed run must not change them."""
        return {f.name: to_plain(getattr(self, f.name)) for f in fields(self) if f.name not in _NOT_DECISIVE}
