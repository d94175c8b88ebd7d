"""Which steps run: a preset, and what is added to it and left out of it."""

import pytest

from corpora.build import BuildConfig
from corpora.choice import StepInfo, chosen
from corpora.registry import STEPS
from hanlm.errors import ConfigError

INFO = {
    "a": StepInfo("clean", "", frozenset({"plain", "web"})),
    "b": StepInfo("filter", "", frozenset({"web"})),
    "c": StepInfo("filter", "", frozenset()),
}


def test_a_preset_is_added_to_and_taken_from_and_the_order_of_steps_is_fixed():
    assert chosen(INFO, "plain", (), ()) == ("a",)
    assert chosen(INFO, "web", ("c",), ("a",)) == ("b", "c")
    assert chosen(INFO, "plain", ("c", "b"), ()) == ("a", "b", "c")


def test_an_unknown_step_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match="--skip normalize: unknown step; did you mean 'normalise'"):
        BuildConfig(input=(tmp_path,), out=tmp_path / "out", skip=("normalize",))
    with pytest.raises(ConfigError, match=r"--add or in --skip"):
        chosen(INFO, "plain", ("b",), ("b",))


def test_steps_that_undo_each_other_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="undo each other"):
        BuildConfig(input=(tmp_path,), out=tmp_path / "out", add=("to-simplified", "to-traditional"))


def test_every_step_says_what_it_does_in_one_line():
    for name, info in STEPS.items():
        assert name == name.lower().replace("_", "-")
        assert 10 < len(info.description) < 160, name
        assert "\n" not in info.description
