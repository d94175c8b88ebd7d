"""Experiment trackers by name: TensorBoard, W&B, SwanLab and trackio, each imported only when it is asked for.

A tracker follows a run and never decides over it: one that fails while the run goes on is told once and left out.
Where it writes to, its own environment variables and login decide: ``WANDB_MODE=offline``, ``SWANLAB_MODE=local``.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from hanlm.errors import ConfigError
from hanlm.files import replace_text

_PROJECT = "hanlm"
_RUN_ID = "tracker-id"
_ID_CHARS = 21  # what SwanLab asks for; the others take any


class Tracker(Protocol):
    """One place that a run's numbers are sent to."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record the numbers of a step."""
        ...

    def close(self) -> None:
        """End the record."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Start:
    """What a tracker may want to know of a run."""

    folder: Path
    run_id: str
    resumed_after: int | None
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The run, named after its output: ``runs/zh/pretrained.work`` is ``pretrained``."""
        return self.folder.resolve().name.removesuffix(".work")


class _TensorBoard:
    def __init__(self, start: _Start) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = None if start.resumed_after is None else start.resumed_after + 1
        self._board = SummaryWriter(str(start.folder / "tensorboard"), purge_step=purge)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._board.close()


class _Wandb:
    """W&B ignores what is written for a step before its last one: steps that a resumed run repeats count once."""

    def __init__(self, start: _Start) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._run: Any = wandb.init(
            project=_PROJECT,
            name=start.name,
            dir=str(start.folder),
            id=start.run_id,
            resume="allow",
            config=dict(start.config),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class _SwanLab:
    def __init__(self, start: _Start) -> None:
        import swanlab  # pyright: ignore[reportMissingImports]

        self._swanlab: Any = swanlab
        swanlab.init(
            project=_PROJECT,
            experiment_name=start.name,
            logdir=str(start.folder / "swanlog"),
            id=start.run_id,
            resume="allow",
            config=dict(start.config),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._swanlab.log(dict(values), step=step)

    def close(self) -> None:
        self._swanlab.finish()


class _Trackio:
    """trackio knows a run by its name, so the name carries the id."""

    def __init__(self, start: _Start) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self._trackio: Any = trackio
        name = f"{start.name}-{start.run_id[:8]}"
        trackio.init(project=_PROJECT, name=name, resume="allow", config=dict(start.config))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        self._trackio.finish()


_KINDS: Mapping[str, Callable[[_Start], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "swanlab": _SwanLab,
    "trackio": _Trackio,
}
REPORTERS = tuple(_KINDS)
"""Names that ``report_to`` knows; each is also the name of its package."""


def check_reporters(report_to: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed.

    Raises:
        ConfigError: Names the tracker and the command that installs it.
    """
    if unknown := set(report_to) - set(REPORTERS):
        raise ConfigError(f"report_to knows {', '.join(REPORTERS)}; got {', '.join(sorted(unknown))}.")
    for name in report_to:
        if find_spec(name) is None:
            package = "'hanlm[tensorboard]'" if name == "tensorboard" else name
            raise ConfigError(f"report_to {name} needs the package: pip install {package}.")


def open_trackers(
    folder: Path, report_to: Sequence[str], *, resumed_after: int | None, config: Mapping[str, Any]
) -> dict[str, Tracker]:
    """Start the trackers of a run.

    Args:
        folder: Holds what they write, and the run's id for them, so that a run that goes on stays one curve.
        report_to: Names out of ``REPORTERS``.
        resumed_after: The last step of an earlier start that counts; -1 or None begins a new curve.
        config: Shown beside the curves.

    Raises:
        ConfigError: If a tracker is unknown, not installed, or does not start.
    """
    check_reporters(report_to)
    if not report_to:
        return {}
    run_id = _run_id(folder / _RUN_ID, is_new=resumed_after is None or resumed_after < 0)
    start = _Start(folder=folder, run_id=run_id, resumed_after=resumed_after, config=config)
    trackers: dict[str, Tracker] = {}
    for name in dict.fromkeys(report_to):
        try:
            trackers[name] = _KINDS[name](start)
        except Exception as error:  # whatever a package of another house raises: no login, no network, no space
            raise ConfigError(
                f"report_to {name} could not be started: {error}; set it up (its login, or its offline mode), "
                "or leave it out."
            ) from error
    return trackers


def _run_id(path: Path, *, is_new: bool) -> str:
    if not is_new and path.is_file():
        return path.read_text(encoding="utf-8").strip()
    run_id = secrets.token_hex(_ID_CHARS)[:_ID_CHARS]
    replace_text(path, run_id + "\n")
    return run_id
