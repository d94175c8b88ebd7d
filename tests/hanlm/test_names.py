"""The stage folders are import packages with generic names; nothing else installed may provide them."""

from importlib import metadata

import pytest


@pytest.mark.parametrize("name", ["hanlm", "tokenizer", "corpora", "pretrain", "sft", "eval"])
def test_no_other_distribution_provides_a_package_of_ours(name: str):
    providers = set(metadata.packages_distributions().get(name, ["hanlm"]))
    assert providers == {"hanlm"}, f"{name} is also provided by {providers}"
