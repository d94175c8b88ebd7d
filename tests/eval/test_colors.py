"""Colours: one for a model on every page, none shared by models and domains."""

from typing import Any

from eval.colors import domain_colors, model_colors


def entries(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "path": f"runs/{name}"} for name in names]


def test_a_model_has_the_same_colour_alone_and_among_others():
    """On the page of ``hanlm ppl``, on that of ``hanlm bench``, and on the run's, which shows both."""
    ppl = [{"name": name, "path": name} for name in ("base", "extended", "pretrained", "control")]
    bench = [{"name": "before", "path": "pretrained"}, {"name": "after", "path": "tuned/model"}]
    together = model_colors([*ppl, *bench])
    assert model_colors(ppl) | model_colors(bench) == together
    assert together["before"] == together["pretrained"]  # one folder under two names
    assert len(set(together.values())) == 5


def test_models_of_any_name_get_colours_of_their_own():
    colors = model_colors(entries(*(f"m{i}" for i in range(8))))
    assert len(set(colors.values())) == 8
    assert len(model_colors(entries(*(f"m{i}" for i in range(20))))) == 20


def test_a_usual_name_gives_way_to_a_colour_that_is_taken():
    colors = model_colors(entries("mine", "base"))
    assert len(set(colors.values())) == 2


def test_a_domain_is_never_coloured_like_a_usual_model():
    usual = {"base", "extended", "pretrained", "control", "after"}
    assert not set(domain_colors(["a", "b", "c"])) & set(model_colors(entries(*usual)).values())
