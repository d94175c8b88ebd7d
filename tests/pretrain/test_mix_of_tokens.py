"""The mix that was tokenized with the tokens is what training draws, phase by phase, and a resumed run too."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from draws import short_samples
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hanlm.artifact import MANIFEST
from hanlm.errors import ConfigError
from hanlm.publish import seal
from hanlm.tokens import open_tokens
from pretrain.config import Phase
from pretrain.data.mixture import Blend, blend_steps, blends, over_epochs
from pretrain.train import plan, pretrain

UNHURRIED = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with other things is no fault."""
PHASES = [
    {"name": "english", "share": 0.5, "weights": {"train-docs": 1.0}},
    {"name": "both", "share": 0.3, "weights": {"train-news": 0.75, "train-docs": 0.25}},
    {"name": "chinese", "share": 0.2, "weights": {"train-news": 1.0}},
]
RUN = {"steps": 8, "new_rows_steps": 2, "save_every": 3, "lr": 0.01}


@pytest.fixture(scope="module")
def mixed_tokens(tiny_tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_mix(tiny_tokens, tmp_path_factory.mktemp("mixed") / "tokens", PHASES)


def with_mix(tokens: Path, out: Path, phases: list[dict[str, object]], **keys: object) -> Path:
    """Copy a tokens artifact with a mix, correctly sealed."""
    shutil.copytree(tokens, out)
    manifest = json.loads((out / MANIFEST).read_text())
    manifest.pop("files")
    seal(out, manifest | {"mix": {"phases": phases, "total_tokens": 1000, "max_epochs": {}, "capped": []} | keys})
    return out


def test_each_phase_draws_what_its_weights_say(mixed_tokens: Path, tmp_path: Path):
    """English ids of the fixture are below 50, those of the news from 300 on."""
    steps = 200
    blended = blends([open_tokens(mixed_tokens)], {})
    lengths = blend_steps(blended, steps)
    assert lengths == [100, 60, 40]
    data = short_samples([(b.shares, n) for b, n in zip(blended, lengths, strict=True)], tmp_path)
    begin = 0
    for blend, length in zip(blended, lengths, strict=True):
        ids = torch.cat([data.step(step)[0].input_BT for step in range(begin, begin + length)])
        text = ids[ids > 2]
        english = sum(share for token_set, share in blend.shares.items() if token_set.domain == "docs")
        assert (text < 50).float().mean().item() == pytest.approx(english, abs=0.05 if 0 < english < 1 else 0)
        begin += length


@UNHURRIED
@given(shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=8), num_steps=st.integers(1, 10_000))
def test_phases_fill_the_steps_in_proportion(shares: list[float], num_steps: int):
    lengths = blend_steps([Blend(name="", share=share, shares={}) for share in shares], num_steps)
    assert sum(lengths) == num_steps
    for share, length in zip(shares, lengths, strict=True):
        assert abs(length - share / sum(shares) * num_steps) <= 1 + 1e-9


def test_a_mix_of_the_command_line_comes_first_and_tokens_without_one_are_as_ever(
    mixed_tokens: Path, tiny_tokens: Path
):
    [by_flag] = blends([open_tokens(mixed_tokens)], {"zh": 0.5, "en": 0.5})
    assert len(by_flag.shares) == 3
    [plain] = blends([open_tokens(tiny_tokens)], {})
    total = sum(s.num_tokens for s in plain.shares)
    assert all(share == pytest.approx(s.num_tokens / total) for s, share in plain.shares.items())


def test_a_curriculum_needs_steps_and_one_artifact(settings, mixed_tokens: Path, tiny_tokens: Path):
    with pytest.raises(ConfigError, match="say --steps instead of --seconds"):
        pretrain(settings(tokens=(mixed_tokens,), seconds=5.0))
    with pytest.raises(ConfigError, match="pass --mix"):
        pretrain(settings(tokens=(mixed_tokens, tiny_tokens)))
    assert "english (50% of the steps): 100% en; both (30%" in plan(settings(tokens=(mixed_tokens,)))[0]


def test_a_run_longer_than_the_mix_was_reckoned_for_says_what_is_repeated(settings, tiny_tokens: Path, tmp_path: Path):
    tokens = with_mix(tiny_tokens, tmp_path / "capped", PHASES, max_epochs={"train-news": 0.5, "train-docs": 1e6})
    opened = open_tokens(tokens)
    seen = over_epochs(opened, blends([opened], {}), 10_000)
    news = next(s for s in opened.sets if s.path.name == "train-news")
    assert seen == {"train-news": pytest.approx((0.3 * 0.75 + 0.2) * 10_000 / news.num_tokens)}
    assert over_epochs(opened, blends([opened], {}), 100) == {}
    assert any("train-news would be seen" in line for line in plan(settings(tokens=(tokens,), steps=100)))


@pytest.fixture(scope="module")
def undisturbed(extended_model: Path, mixed_tokens: Path, tmp_path_factory: pytest.TempPathFactory):
    from pretrain.config import PretrainConfig

    config = PretrainConfig(
        model=extended_model,
        tokens=(mixed_tokens,),
        out=tmp_path_factory.mktemp("whole") / "out",
        seq_length=32,
        global_batch_size=4,
        micro_batch_size=2,
        precision="fp32",
        eval_tokens=0,
        log_every=1,
        **RUN,  # pyright: ignore[reportArgumentType]
    )
    return pretrain(config)


def figures(out: Path) -> list[tuple[float, ...]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in rows]


@pytest.mark.fault(1)
@pytest.mark.parametrize("step", [4, 5, 8, 9])
def test_a_run_killed_beside_a_border_of_phases_resumes_to_the_same_bits(
    settings, kill, undisturbed, read_weights, mixed_tokens: Path, step: int
):
    """Of 10 steps the mix changes after 5 and 8; checkpoints are those of 3, 6 and 9."""
    config = settings(**RUN, tokens=(mixed_tokens,))
    kill(config, call=step)
    out = pretrain(config)
    assert figures(out) == figures(undisturbed)
    ours, theirs = read_weights(out), read_weights(undisturbed)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_validation_is_that_of_a_run_without_a_mix(settings, mixed_tokens: Path, tiny_tokens: Path):
    first: list[dict[str, float]] = []
    for name, tokens in (("a", mixed_tokens), ("b", tiny_tokens)):
        out = pretrain(settings(name, tokens=(tokens,), phases=(Phase(steps=1),), eval_tokens=2_000, num_evals=1))
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        first.append({k: v for k, v in next(r for r in rows if r["step"] == 0).items() if k.startswith("valid/")})
    assert first[0] == first[1]
    assert first[0]


def test_a_changed_mix_is_another_run(settings, kill, mixed_tokens: Path, tmp_path: Path):
    from hanlm.errors import ArtifactError

    config = settings(**RUN, tokens=(mixed_tokens,))
    kill(config, call=4)
    other = with_mix(mixed_tokens, tmp_path / "other", PHASES[:1])
    with pytest.raises(ArtifactError, match="differs in inputs"):
        pretrain(dataclasses.replace(config, tokens=(other,)))
