"""Which steps run: a preset, and what is added to it and left out of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpora.build import BuildConfig
from corpora.dedup.config import DedupConfig
from corpora.filters.score_config import ScoreConfig
from corpora.filters.settings import RuleSettings
from corpora.filters.word_list import WordList
from corpora.registry import STEPS, StepInfo, chosen
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "web", "dedup": DedupConfig(near=False)}, "dedup.near is false.*--skip near-duplicates"),
        ({"dedup": DedupConfig(lines=True)}, "dedup.lines is true.*--add common-lines"),
        ({"score": ScoreConfig(good=(Path("good"),), keep_fraction=0.5)}, "score, which does not run; --add score"),
        ({"rules": RuleSettings(word_list=WordList(lists=(Path("list.txt"),)))}, "--add word-list"),
        ({"add": ("to-simplified", "to-traditional")}, "undo each other"),
    ],
)
def test_settings_of_steps_that_do_not_run_are_refused(tmp_path: Path, settings: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        BuildConfig(input=(tmp_path,), out=tmp_path / "out", **settings)


def test_the_resolved_configuration_says_which_copies_are_looked_for(tmp_path: Path):
    plain = BuildConfig(input=(tmp_path,), out=tmp_path / "out")
    assert (plain.dedup.exact, plain.dedup.near) == (True, False)
    assert replace(plain, preset="plain").dedup == plain.dedup
    assert BuildConfig(input=(tmp_path,), out=tmp_path / "out", preset="web", skip=("duplicates",)).dedup.near


def test_every_step_says_what_it_does_in_one_line():
    for name, info in STEPS.items():
        assert name == name.lower().replace("_", "-")
        assert 10 < len(info.description) < 160, name
        assert "\n" not in info.description
