"""W&B, SwanLab and trackio get the numbers of a run, go on after a resume, and never end it.

None of the three is installed where these tests run: modules of the same names and calls stand in for them.
"""

import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hanlm.errors import ConfigError
from hanlm.log import Metrics


class Recorder(ModuleType):
    """A package with ``init``, ``log`` and ``finish``, which keeps what it is given."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = SimpleNamespace(name=name)  # pyright: ignore[reportAttributeAccessIssue]
        self.inits: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.num_finished = 0
        self.fails = False

    def init(self, **settings: Any) -> "Recorder":
        self.inits.append(settings)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        if self.fails:
            raise OSError("no route to host")
        self.rows.append((step, values))

    def finish(self) -> None:
        self.num_finished += 1


@pytest.fixture(params=["wandb", "swanlab", "trackio"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(request.param)
    monkeypatch.setitem(sys.modules, request.param, recorder)
    return recorder


def test_a_tracker_gets_the_numbers_of_every_line_and_nothing_else(package: Recorder, tmp_path: Path):
    metrics = Metrics(tmp_path / "zh.work", (package.__name__,), config={"lr": 0.1})
    metrics.write(1, {"loss": 2.5, "phase": 0})
    metrics.write(
        2, {"loss": math.nan, "event": "spike", "skipped": True, "batch_loss": 9.0, "samples": [{"documents": ["a"]}]}
    )
    metrics.close()
    assert package.rows == [(1, {"loss": 2.5, "phase": 0}), (2, {"batch_loss": 9.0})]
    assert package.num_finished == 1
    [settings] = package.inits
    assert settings["project"] == "hanlm"
    assert settings["config"] == {"lr": 0.1}
    assert settings.get("experiment_name", settings.get("name", "")).startswith("zh")


def test_a_run_that_goes_on_stays_one_curve_and_a_new_one_does_not(package: Recorder, tmp_path: Path):
    for resumed_after in (-1, 10, -1):
        Metrics(tmp_path, (package.__name__,), resumed_after=resumed_after).close()
    names = [settings.get("id", settings.get("name")) for settings in package.inits]
    assert names[0] == names[1] != names[2]
    assert all(settings["resume"] == "allow" for settings in package.inits)
    if package.__name__ == "swanlab":
        assert len(names[0]) == 21


def test_a_tracker_that_fails_on_the_way_is_told_once_and_the_run_goes_on(
    package: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    metrics = Metrics(tmp_path, (package.__name__,))
    metrics.write(1, {"loss": 3.0})
    package.fails = True
    for step in (2, 3):
        metrics.write(step, {"loss": 3.0})
    metrics.close()
    said = capsys.readouterr().err
    assert said.count(package.__name__) == 1
    assert "no route to host" in said
    assert [json.loads(line)["step"] for line in metrics.path.read_text().splitlines()] == [1, 2, 3]


def test_a_tracker_that_does_not_start_is_refused_with_its_reason(
    package: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(**_settings: Any) -> None:
        raise RuntimeError("api_key not configured")

    monkeypatch.setattr(package, "init", refuse)
    with pytest.raises(ConfigError, match=rf"{package.__name__} could not be started: api_key not configured; set it"):
        Metrics(tmp_path, (package.__name__,))


@pytest.mark.parametrize("name", ["wandb", "swanlab", "trackio"])
def test_a_package_that_is_missing_is_refused_with_the_command_that_installs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hanlm.trackers.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=rf"report_to {name} needs the package: pip install {name}\."):
        Metrics(tmp_path, (name,))


def test_an_unknown_tracker_is_refused_with_those_there_are(tmp_path: Path):
    with pytest.raises(ConfigError, match="report_to knows tensorboard, wandb, swanlab, trackio; got comet"):
        Metrics(tmp_path, ("comet",))
