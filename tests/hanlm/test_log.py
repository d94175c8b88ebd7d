"""What a user sees while waiting: once, with the time left, and never at the price of the work."""

import os

import pytest

from hanlm import log


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have gone by."""
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    return now


def test_a_line_tells_how_long_it_takes_yet_by_the_speed_of_this_run(
    clock: list[float], capsys: pytest.CaptureFixture[str]
):
    """Half was done before; a tenth in 100 seconds leaves 400 for the other four."""
    with log.progress(1.0, "training", done=0.5) as bar:
        clock[0] = 5.0
        bar.advance(0.0)
        clock[0] = 100.0
        bar.advance(0.1, "loss 2.1")
    assert capsys.readouterr().err == "training  60% after 1:40, 6:40 left loss 2.1\n"


def test_where_the_end_is_unknown_a_line_tells_what_is_done(clock: list[float], capsys: pytest.CaptureFixture[str]):
    with log.progress(None, "MB read") as bar:
        clock[0] = 3700.0
        bar.advance(12.0)
    assert capsys.readouterr().err == "MB read 12 after 1:01:40\n"


def test_of_the_processes_of_a_torchrun_only_the_first_speaks(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        log.say("a line")
        with log.progress(1.0, "training") as bar:
            clock[0] += 20.0
            bar.advance(0.5)
    assert capsys.readouterr().err.splitlines() == [
        "a line",
        "training  50% after 0:20, 0:20 left",
    ]


def test_a_line_that_nobody_can_read_costs_nothing(monkeypatch: pytest.MonkeyPatch):
    """The terminal of a training is gone; it still has to save."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stderr:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr("sys.stderr", stderr)
        log.say("a line")
        os.dup2(os.open(os.devnull, os.O_WRONLY), stderr.fileno())  # so that closing it finds a reader
