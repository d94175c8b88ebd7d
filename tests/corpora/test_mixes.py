"""Mixes: what is asked for becomes weights and epochs of data sets, by arithmetic alone."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from corpora.build import BuildConfig, build
from corpora.tokenize import TokenizeConfig, tokenize
from corpora.tokens.mix_shares import fill, resolve
from corpora.tokens.mixes import Mix, MixPhase
from hanlm.artifact import manifest_hash, open_artifact
from hanlm.cli import main
from hanlm.errors import ConfigError
from hanlm.tokens import open_tokens

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with other things is no fault."""
SIZES = {"news": ("zh", 600), "wiki": ("zh-Hant", 200), "code": ("en", 100), "web": ("en", 900)}


def datasets(sizes: dict[str, tuple[str, int]] | None = None) -> list[dict[str, Any]]:
    return [
        {"prefix": f"{split}-{domain}", "split": split, "domain": domain, "lang": lang, "num_tokens": n}
        for domain, (lang, n) in (sizes or SIZES).items()
        for split in ("train", "valid")
    ]


def weights_of(mix: Mix, sizes: dict[str, tuple[str, int]] | None = None, phase: int = 0) -> dict[str, float]:
    weights = resolve(mix, datasets(sizes))["phases"][phase]["weights"]
    return {prefix.removeprefix("train-"): weight for prefix, weight in weights.items()}


random_sizes = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.sampled_from(["zh", "en"]), st.integers(1, 10**12)), min_size=1
)


@UNHURRIED
@given(sizes=random_sizes, temperature=st.floats(0.2, 100))
def test_weights_sum_to_one_and_follow_the_temperature(sizes: dict[str, tuple[str, int]], temperature: float):
    weights = weights_of(Mix(temperature=temperature), sizes)
    assert math.fsum(weights.values()) == pytest.approx(1)
    powers = {name: n ** (1 / temperature) for name, (_, n) in sizes.items()}
    for name, weight in weights.items():
        assert weight == pytest.approx(powers[name] / sum(powers.values()), abs=1e-9)


def test_temperature_one_is_by_size_and_a_high_one_is_even():
    total = sum(n for _, n in SIZES.values())
    assert weights_of(Mix()) == pytest.approx({name: n / total for name, (_, n) in SIZES.items()})
    assert weights_of(Mix(temperature=1e9)) == pytest.approx(dict.fromkeys(SIZES, 0.25))


def test_a_name_is_a_domain_or_a_language_and_the_narrowest_counts():
    """English code has its own weight, the other English shares en; zh covers its scripts; within a name by size."""
    weights = weights_of(Mix(weights={"zh": 7, "en": 2, "code": 1}))
    assert weights == pytest.approx({"news": 0.7 * 0.75, "wiki": 0.7 * 0.25, "web": 0.2, "code": 0.1})
    weights = weights_of(Mix(weights={"zh": 6, "zh-Hant": 2, "train-web": 2, "en": 0}))
    assert weights == pytest.approx({"news": 0.6, "wiki": 0.2, "web": 0.2})


def test_replay_is_a_share_of_all_tokens_and_the_weights_divide_the_rest():
    weights = weights_of(Mix(replay={"en": 0.1, "code": 0.05}))
    assert weights == pytest.approx({"news": 0.85 * 0.75, "wiki": 0.85 * 0.25, "web": 0.1, "code": 0.05})


@UNHURRIED
@given(
    sizes=random_sizes,
    cap=st.floats(0.5, 8),
    total=st.floats(0.05, 0.999),
    temperature=st.floats(0.5, 20),
    order=st.randoms(use_true_random=False),
)
def test_caps_hold_the_rest_is_redistributed_and_the_order_of_names_is_irrelevant(
    sizes: dict[str, tuple[str, int]], cap: float, total: float, temperature: float, order: Any
):
    num_tokens = total * cap * sum(n for _, n in sizes.values())
    assume(num_tokens >= 1)
    mix = Mix(temperature=temperature, max_epochs={"all": cap}, total_tokens=num_tokens)
    resolved = resolve(mix, datasets(sizes))
    [phase] = resolved["phases"]
    assert math.fsum(phase["weights"].values()) == pytest.approx(1)
    assert all(epochs <= cap * (1 + 1e-6) for epochs in phase["epochs"].values())
    free = weights_of(Mix(temperature=temperature), sizes)
    for prefix, weight in phase["weights"].items():
        if prefix not in resolved["capped"]:
            assert weight >= free[prefix.removeprefix("train-")] - 1e-6
        else:
            assert phase["epochs"][prefix] == pytest.approx(cap, rel=1e-6)
    shuffled = list(sizes.items())
    order.shuffle(shuffled)
    assert resolve(mix, datasets(dict(shuffled))) == resolved


def test_a_capped_data_set_leaves_its_part_to_those_of_the_same_name_first():
    mix = Mix(weights={"zh": 0.8, "en": 0.2}, max_epochs={"wiki": 0.5}, total_tokens=1000)
    weights = weights_of(mix)
    assert weights == pytest.approx({"wiki": 0.1, "news": 0.7, "web": 0.2 * 0.9, "code": 0.2 * 0.1})
    assert resolve(mix, datasets())["capped"] == ["train-wiki"]


def test_a_capped_replay_leaves_its_part_to_the_others():
    weights = weights_of(Mix(replay={"code": 0.5}, max_epochs={"code": 1}, total_tokens=1000))
    assert weights["code"] == pytest.approx(0.1)
    assert math.fsum(weights.values()) == pytest.approx(1)


def test_phases_have_weights_of_their_own_and_share_the_caps():
    """The first phase takes half of what wiki may give; the second gets what is left, and says so."""
    mix = Mix(
        weights={"zh": 1, "en": 0, "code": 0},
        curriculum=(
            MixPhase(name="mixed", share=0.25, weights={"wiki": 1, "news": 1, "en": 2, "code": 0}),
            MixPhase(share=0.75, temperature=1e9),
        ),
        max_epochs={"wiki": 1},
        total_tokens=800,
    )
    resolved = resolve(mix, datasets())
    first, second = resolved["phases"]
    assert (first["name"], second["name"]) == ("mixed", "phase-2")
    assert first["weights"] == pytest.approx({"train-wiki": 0.25, "train-news": 0.25, "train-web": 0.5})
    assert first["epochs"]["train-wiki"] == pytest.approx(0.25)
    assert second["weights"] == pytest.approx({"train-wiki": 150 / 600, "train-news": 450 / 600})
    assert first["epochs"]["train-wiki"] + second["epochs"]["train-wiki"] == pytest.approx(1)
    assert resolved["capped"] == ["train-wiki"]


@UNHURRIED
@given(
    weights=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e6), min_size=1),
    room=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 2)),
)
@example(weights={"a": 1.0, "b": 5e-324}, room={"a": 0.5})
def test_filling_gives_all_there_is_room_for(weights: dict[str, float], room: dict[str, float]):
    shares = fill(1.0, weights, room)
    possible = math.fsum(room.get(name, math.inf) for name, weight in weights.items() if weight > 0)
    assert math.fsum(shares.values()) == pytest.approx(min(1.0, possible), abs=1e-9)
    assert all(0 <= share <= room.get(name, math.inf) for name, share in shares.items())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weights": {"zh": 1, "fr": 1}}, "names fr, which no data set has; known: code,"),
        ({"weights": {"zh": 1}}, "train-code, train-web has no weight"),
        ({"weights": {"zh": -1}}, "not negative"),
        ({"weights": {"zh": 1, "en": 1}, "replay": {"en": 0.1}}, "both a weight and a replay"),
        ({"replay": {"en": 0.7, "zh": 0.4}}, "less than 1"),
        ({"temperature": 0}, "temperature above 0"),
        ({"max_epochs": {"all": 1}, "total_tokens": 1e6}, "max_epochs leaves"),
        ({"max_epochs": {"all": 0}}, "max_epochs above 0"),
        ({"curriculum": (MixPhase(share=0.5), MixPhase(share=0.4))}, "sum to 1"),
        ({"curriculum": (MixPhase(share=0.5, name="a"), MixPhase(share=0.5, name="a"))}, "different names"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(options: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        resolve(Mix(**options), datasets())


@pytest.fixture
def corpus(tmp_path: Path, chinese_file: Path, english_file: Path) -> Path:
    return build(BuildConfig(input=(chinese_file, english_file), out=tmp_path / "corpus", min_han_ratio=0.0))


def test_a_mix_in_the_configuration_file_is_written_into_the_manifest(
    tmp_path: Path, corpus: Path, tiny_tokenizer_folder: Path
):
    config = {"corpus": [str(corpus)], "tokenizer": str(tiny_tokenizer_folder), "out": str(tmp_path / "t")}
    mix = {"weights": {"story": 0.8, "notes": 0.2}, "max_epochs": 4, "total_tokens": 10_000, "temperature": 2.0}
    mix["curriculum"] = [{"name": "first", "share": 0.3, "weights": {"story": 1, "notes": 1}}, {"share": 0.7}]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"workers": 1, "mix": mix}))
    with pytest.raises(SystemExit) as end:
        main(["corpus", "tokenize", "--config", str(tmp_path / "c.yaml")])
    assert end.value.code == 0
    written = open_tokens(tmp_path / "t").mix
    assert written is not None
    assert [(p["name"], p["share"]) for p in written["phases"]] == [("first", 0.3), ("phase-2", 0.7)]
    assert written["phases"][1]["weights"] == pytest.approx({"train-story": 0.8, "train-notes": 0.2})
    assert written["max_epochs"] == {"train-notes": 4, "train-story": 4}


def test_tokens_of_another_mix_are_another_artifact_with_the_same_files(
    tmp_path: Path, corpus: Path, tiny_tokenizer_folder: Path
):
    """So a recipe trains again when the mix was changed; without a mix nothing is written."""
    options = {"corpus": (corpus,), "tokenizer": tiny_tokenizer_folder, "workers": 1}
    mixes = [None, Mix(), Mix(temperature=2)]
    outs = [tokenize(TokenizeConfig(**options, out=tmp_path / f"{i}", mix=m)) for i, m in enumerate(mixes)]
    manifests = [open_artifact(out, "tokens").manifest for out in outs]
    assert "mix" not in manifests[0]
    assert manifests[0]["files"] == manifests[1]["files"] == manifests[2]["files"]
    assert len({manifest_hash(m) for m in manifests}) == 3
    assert json.dumps(manifests[1]["mix"])
