"""`hanlm doctor`: every check that is cheaper than finding out in the middle of a run."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from hanlm.errors import ConfigError
from hanlm.log import is_main_process
from hanlm.tokens import Tokens
from pretrain.config import PretrainConfig
from pretrain.families import ModelShape
from pretrain.layout import num_processes
from pretrain.planning.findings import Report
from pretrain.planning.inputs import look_at_inputs
from pretrain.planning.machine import Facts, as_plain, compare, facts_here, look_at_disk, look_at_memory


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorConfig(PretrainConfig):
    """The configuration of `hanlm pretrain`, and how far to try it."""

    dry_run_steps: int = 0
    """Also train so many steps of every phase at the layout, save and publish, and remove all of it; 0 trains none."""

    def __post_init__(self) -> None:
        PretrainConfig.__post_init__(self)
        if self.dry_run_steps < 0:
            raise ConfigError(f"--dry-run-steps must not be negative, got {self.dry_run_steps}.")
        if self.backend != "megatron":
            raise ConfigError(
                f"hanlm doctor looks at runs of --backend megatron, got {self.backend}; `hanlm pretrain --dry-run` "
                "checks the inputs of this one."
            )


def doctor(config: DoctorConfig) -> None:
    """Check a run before it starts; print a line for each check.

    Raises:
        InputError: If anything was found that would stop the run or spoil it.
    """
    report = Report()
    shape, tokens = look_at_inputs(config, report, is_main=is_main_process())
    facts = facts_here(tokens, report)
    with _one_group():
        look = _look_together if (num_processes() or 1) > 1 else _look_alone
        planned_bytes = look(config, shape, facts, report)
        if config.dry_run_steps and planned_bytes is not None and shape is not None:
            _dry_run(config, shape, tokens, report, planned_bytes)
    report.close()


def plan(config: DoctorConfig) -> list[str]:
    """Return what `hanlm doctor` would look at."""
    lines = [
        f"check model, tokens (read whole), layout, memory, disk, devices and versions for {config.out}",
        "under torchrun also clocks, all-reduce and shared storage between the processes",
    ]
    if config.dry_run_steps:
        lines.append(f"train {config.dry_run_steps} steps of every phase into {config.out}.doctor, which is removed")
    return lines


def _one_group() -> AbstractContextManager[object]:
    """Under torchrun join once, for the looks and the dry run."""
    if (num_processes() or 1) == 1:
        return nullcontext()
    from pretrain.parallel import process_group

    return process_group()


def _look_alone(config: DoctorConfig, shape: ModelShape | None, facts: Facts, report: Report) -> int | None:
    """Return the memory that a process needs, or None where something is wrong."""
    from pretrain.planning.links import time_files

    compare([facts], report)
    planned = _look_at_room(config, shape, [facts], report)
    if shape is not None:
        time_files(config, shape, None, report)
    return None if report.count("fault") else planned


def _look_together(config: DoctorConfig, shape: ModelShape | None, facts: Facts, report: Report) -> int | None:
    """Do what takes all processes, and agree on whether to go on."""
    from torch import distributed as dist

    from pretrain.parallel import parallel
    from pretrain.planning.links import compare_clocks, time_all_reduce, time_files

    with parallel(config.layout, seed=config.seed) as place:
        gathered: list[dict[str, object]] = [{}] * place.world_size
        dist.all_gather_object(gathered, as_plain(facts))
        everyone = [Facts(**each) for each in gathered]  # pyright: ignore[reportArgumentType]
        planned: int | None = None
        if place.is_main:
            compare(everyone, report)
            planned = _look_at_room(config, shape, everyone, report)
        [unreadable] = place.agree(float(shape is None))
        if not unreadable and shape is not None:
            compare_clocks(place, report)
            time_all_reduce(shape, place, report)
            time_files(config, shape, place, report)
        faults, most = place.agree(float(report.count("fault")), float(planned or 0))
    if faults and not report.count("fault"):
        report.add("fault", "process", "another process found a fault; it tells")
    return None if faults else int(most)


def _look_at_room(config: DoctorConfig, shape: ModelShape | None, facts: list[Facts], report: Report) -> int | None:
    if shape is None:
        return None
    with report.guard("disk"):
        look_at_disk(config, shape, report)
    return report.attempt("memory", lambda: look_at_memory(config, shape, facts, report))


def _dry_run(config: DoctorConfig, shape: ModelShape, tokens: list[Tokens], report: Report, planned_bytes: int) -> None:
    from pretrain.planning.dry_run import dry_run

    dry_run(config, shape, tokens, report, steps=config.dry_run_steps, planned_bytes=planned_bytes)
