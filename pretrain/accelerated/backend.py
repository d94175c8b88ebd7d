"""The backend of transformers and accelerate: processes, model, checkpoints and what is published."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hanlm.devices import resolve_dtype
from hanlm.errors import ConfigError
from hanlm.files import fsync, sha256_of
from pretrain.accelerated.engine import AccelerateEngine
from pretrain.accelerated.model import load_trainee
from pretrain.accelerated.publish import learned_by_accelerate, write_weights
from pretrain.accelerated.storage import write_tensors
from pretrain.arrival import Meeting
from pretrain.checkpoints.pending import Hashes, Writing
from pretrain.config import Phase, PretrainConfig
from pretrain.export import export_adapter
from pretrain.layout import Layout
from pretrain.parallel import Place, in_contact, process_group


class AccelerateBackend:
    """Trains any causal model of transformers, whole on every process."""

    def __init__(self, config: PretrainConfig, *, vocab_size: int) -> None:
        self.config, self.vocab_size = config, vocab_size
        self._accelerator: Any = None
        self._engine: AccelerateEngine | None = None

    @contextmanager
    def processes(self, meeting: Meeting) -> Generator[Place]:
        """Join (or, outside torchrun, be) the group of processes.

        Raises:
            ConfigError: If accelerate was configured to divide the model, or processes do not fit together.
            MissingNodes: If one did not come in time.
            LostContact: If another process ended, or could not be reached any more.
        """
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedDataParallelKwargs

        with process_group(meeting):  # accelerate takes one that is there
            self._accelerator = Accelerator(
                cpu=not torch.cuda.is_available(),
                mixed_precision="bf16" if resolve_dtype(self.config.precision) == torch.bfloat16 else "no",
                # Else gradients exist twice.
                kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
            )
            try:
                with in_contact():
                    yield self._place()
            finally:
                # A second run in this process may want another precision, which accelerate would refuse.
                AcceleratorState._reset_state(reset_partial_state=True)  # pyright: ignore[reportPrivateUsage]

    def _place(self) -> Place:
        kind = self._accelerator.distributed_type.value
        if kind not in ("NO", "MULTI_CPU", "MULTI_GPU"):
            raise ConfigError(
                f"accelerate was configured for {kind}, but this backend divides the batch only; unset ACCELERATE_* or "
                "start it with python -m hanlm.torchrun."
            )
        rank, size = self._accelerator.process_index, self._accelerator.num_processes
        return Place(
            layout=Layout(),
            device=self._accelerator.device,
            rank=rank,
            world_size=size,
            tensor_rank=0,
            pipeline_rank=0,
            data_rank=rank,
            data_size=size,
        )

    def engine(self, place: Place) -> AccelerateEngine:
        """Return the base, loaded and ready to be trained."""
        self._engine = AccelerateEngine(load_trainee(self.config, place.device), self._accelerator, place, self.config)
        return self._engine

    def prepare_save(
        self,
        tensors: dict[str, Any],
        folder: Path,
        place: Place,
        /,
        *,
        in_background: bool,  # noqa: ARG002 - is refused
    ) -> Writing:
        """Return how the main process writes a checkpoint's tensors; all processes hold the same."""

        def write() -> Hashes:
            return {name: _write(named, folder / name) for name, named in files.items()}

        files = {f"{name}.safetensors": named for name, named in tensors.items()} if place.is_main else {}
        return Writing(write, lambda: None)

    def write_model(self, checkpoint: Path, folder: Path) -> None:  # noqa: ARG002 - it is what is in memory
        """Write the weights of the checkpoint that was just saved or restored."""
        assert self._engine is not None
        write_weights(self._engine.trainee, folder, base=self.config.model)

    def publish_adapter(
        self,
        checkpoint: Path,  # noqa: ARG002 - it is what is in memory
        phases: Sequence[Phase],
        *,
        num_base_tokens: int,
    ) -> None:
        """Publish what phases of `lora` learned as ``OUT.adapter``."""
        assert self._engine is not None
        learned = partial(learned_by_accelerate, self._engine.trainee, self.config.lora)
        export_adapter(self.config, phases, learned, num_base_tokens=num_base_tokens, vocab_size=self.vocab_size)


def _write(tensors: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, Any]:
    """Write a file, flushed to the disk, and return what a manifest says of it."""
    write_tensors(tensors, file)
    fsync(file)
    return {"sha256": sha256_of(file), "num_bytes": file.stat().st_size}
