"""The pages on corpora name every step that there is, and every reason that a step can give for a drop.

Reasons are read out of the code: the strings that functions which give a reason return. A reason that is put together
at run time has to be spelled out here, or the test fails.
"""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest

from corpora.dedup.cluster import REASONS
from corpora.filters.chinese_registry import CHINESE_RULES
from corpora.filters.quality_limits import QualityConfig
from corpora.filters.quality_registry import QUALITY_STEPS
from corpora.registry import SCORE, STEPS, StepInfo
from corpora.steps import deduplicating

ROOT = Path(__file__).parents[2]
ENTRY_PAGE = ROOT / "docs/corpora.md"
PAGES = (ENTRY_PAGE, *sorted((ROOT / "docs/corpora").glob("*.md")))

MODULE_OF = (
    {name: factory.__module__ for name, (factory, _, _) in CHINESE_RULES.items()}
    | {name: step.target.partition(":")[0] for name, step in QUALITY_STEPS.items()}
    | {SCORE: "corpora.filters.score", "exclude": "corpora.evaluation.exclusions"}
    | {"decontaminate": "corpora.evaluation.decontaminate"}
)
"""Where the rule of each step that drops documents is; those of deduplication tell their reasons themselves."""


def text_of_pages() -> str:
    assert len(PAGES) > 8
    return "\n".join(path.read_text(encoding="utf-8") for path in PAGES)


def returned(module: ast.Module) -> Iterator[ast.expr]:
    """Yield what the functions that may give a reason return: those that are declared to return a string or None."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.returns and "str | None" in ast.unparse(node.returns):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield inner.value


def results(expression: ast.expr) -> Iterator[ast.expr]:
    """Yield what an expression may have for a value: both sides of a choice, the first of a tuple or ``Reason``."""
    if isinstance(expression, ast.IfExp):
        yield from results(expression.body)
        yield from results(expression.orelse)
    elif isinstance(expression, ast.BoolOp):
        for value in expression.values:
            yield from results(value)
    elif isinstance(expression, ast.Tuple):
        yield from results(expression.elts[0])
    elif isinstance(expression, ast.Call) and ast.unparse(expression.func) == "Reason":
        yield from results(expression.args[0])
    else:
        yield expression


def pattern_of(spelled: ast.JoinedStr) -> str:
    return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in spelled.values)  # pyright: ignore


def reasons_in(module_name: str) -> set[str]:
    """Return the reasons that a module gives; put together ones as their pattern, with ``{}``."""
    spec = find_spec(module_name)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found: set[str] = set()
    for value in (value for expression in returned(tree) for value in results(expression)):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found.add(value.value)
        elif isinstance(value, ast.JoinedStr):
            found.add(pattern_of(value))
    return found


def reasons_of_datatroves_c4() -> set[str]:
    """Return what datatrove's filter gives for whole documents: the second of the pairs it returns."""
    path = import_module("datatrove.pipeline.filters.c4_filters").__file__
    assert path is not None
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    quality = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == "C4QualityFilter")
    pairs = [n.value for n in ast.walk(quality) if isinstance(n, ast.Return) and isinstance(n.value, ast.Tuple)]
    found = {pair.elts[1].value for pair in pairs if isinstance(pair.elts[1], ast.Constant)}
    assert "lorem_ipsum" in found
    return {str(reason) for reason in found}


def spelled_out(reason: str) -> set[str]:
    """Return the reasons that a pattern stands for.

    Raises:
        KeyError: If nobody said which they are.
    """
    if "{}" not in reason:
        return {reason}
    limits = [QualityConfig().zh.gopher_repetition, QualityConfig().en.gopher_repetition]
    values: dict[str, set[str]] = {
        "gopher_dup_{}_frac": {"para", "line"},
        "gopher_dup_{}_char_frac": {"para", "line"},
        "gopher_top_{}_gram": {str(n) for each in limits for n, _ in each.top_n_grams},
        "gopher_duplicated_{}_n_grams": {str(n) for each in limits for n, _ in each.dup_n_grams},
        "c4_{}": reasons_of_datatroves_c4(),
    }
    assert values[reason]
    return {reason.format(value) for value in values[reason]}


def all_reasons() -> set[str]:
    modules = {*MODULE_OF.values(), *(f"corpora.filters.{path.stem}" for path in filter_files())}
    found = {reason for module in modules for given in reasons_in(module) for reason in spelled_out(given)}
    return found | set(REASONS.values()) | {deduplicating._EMPTY}  # pyright: ignore[reportPrivateUsage]


def filter_files() -> list[Path]:
    return [path for path in (ROOT / "corpora/filters").glob("*.py") if path.stem != "__init__"]


def test_every_filter_has_a_module_that_gives_a_reason():
    filters = {name for name, info in STEPS.items() if info.kind == "filter"}
    assert filters <= set(MODULE_OF)
    assert {module for module in MODULE_OF.values() if not reasons_in(module)} == set()


def test_reasons_that_are_known_to_be_given_are_found_in_the_code():
    """Guards against a reader of the code that finds little: one reason of each way in which reasons are written."""
    some = {
        "too_long", "high_han_ratio", "menu", "spam", "word_list", "gopher_top_3_gram", "gopher_dup_para_char_frac",
        "c4_lorem_ipsum", "c4_too_few_sentences", "low_score", "excluded", "contaminated", "only_repeats",
    }  # fmt: skip
    assert some <= all_reasons()
    assert len(all_reasons()) >= 45
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", reason) for reason in all_reasons())


@pytest.mark.parametrize("reason", sorted(all_reasons()))
def test_every_reason_for_a_drop_is_on_a_page(reason: str):
    assert f"`{reason}`" in text_of_pages()


def test_the_entry_page_lists_every_step_in_its_order_with_its_kind_and_presets():
    def row(name: str, info: StepInfo) -> tuple[str, str, str]:
        return name, info.kind, ", ".join(preset for preset in ("plain", "web") if preset in info.presets) or "–"

    listed = re.findall(
        r"^\| `([a-z0-9-]+)` \| (clean|filter|dedup) \| .* \| ([a-z, –]+) \|$", ENTRY_PAGE.read_text("utf-8"), re.M
    )
    assert listed == [row(name, info) for name, info in STEPS.items()]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_a_page_besides_the_entry_page(name: str):
    assert any(f"`{name}`" in path.read_text(encoding="utf-8") for path in PAGES if path != ENTRY_PAGE)


def test_links_between_the_pages_lead_somewhere():
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", page.read_text("utf-8"))
    ]
    assert len(links) > 15
    assert [(page.name, target) for page, target in links if not (page.parent / target).is_file()] == []


def test_names_of_the_code_that_pages_give_are_there():
    text = text_of_pages()
    names = re.findall(r"`(corpora(?:\.\w+)+(?::\w+)?)", text)
    names += [f"{module}.{name}" for module, names in re.findall(r"^from (\S+) import ([\w, ]+)$", text, re.M)
              for name in names.split(", ")]  # fmt: skip
    assert len(names) > 6
    for name in names:
        resolve_name(name)
    files = re.findall(r"`(?:python )?((?:corpora|benchmarks|recipes)/[\w/]+(?:\.\w+)?)", text)
    assert len(files) > 3
    assert [name for name in files if not (ROOT / name).exists() and not name.startswith("corpora/")] == []
