"""Docstrings of installed packages as English text."""

from collections import Counter
from pathlib import Path

import pytest

from corpora.docstrings import docstrings_of, iter_docstrings, reason_to_drop
from hanlm.errors import InputError
from hanlm.text import normalise

PROSE = "Return the number of apples that are left in the basket after the children have taken theirs home{}."


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for number in range(40):
        folder = tmp_path / f"package{number % 4}"
        folder.mkdir(exist_ok=True)
        (folder / f"module{number}.py").write_text(f'"""{PROSE.format(" at noon" * (number + 1))}"""\n')
    return tmp_path


def _texts(root: Path, **options: int) -> list[str]:
    return [record["text"] for record in iter_docstrings(root, **options)]


def test_docstrings_of_modules_classes_and_functions_are_found_dedented_in_file_order():
    source = '''"""Module."""
class A:
    """Class.

        Indented.
    """
    def method(self):
        """Method."""
if True:
    async def inner():
        """Inner."""
else:
    def other():
        "Other."
try:
    pass
finally:
    def last():
        """Last."""
"""Not a docstring."""
'''
    expected = ["Module.", "Class.\n\nIndented.", "Method.", "Inner.", "Other.", "Last."]
    assert docstrings_of(source) == expected


def test_records_are_normalised_english_and_name_their_file(packages: Path):
    records = list(iter_docstrings(packages))
    assert len(records) == 40
    for record in records:
        assert (packages / record["source"]).is_file()
        assert (record["domain"], record["lang"]) == ("python_docs", "en")
        assert record["text"] == normalise(record["text"])
    assert len({record["id"] for record in records}) == 40


def test_a_sample_is_a_prefix_of_the_whole_that_meets_its_size(packages: Path):
    whole, sample = _texts(packages), _texts(packages, max_bytes=2000)
    assert 0 < len(sample) < len(whole)
    assert whole[: len(sample)] == sample
    assert sum(len(text.encode()) for text in sample[:-1]) < 2000 <= sum(len(text.encode()) for text in sample)


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path):
    prose = PROSE.format("")
    files = {
        "prose.py": f'"""{prose}"""',
        "again.py": f'"""  {prose}\n"""',
        "chinese.py": f'"""{prose} 苹果"""',
        "short.py": '"""Return it."""',
        "symbols.py": '"""' + "=+" * 100 + '"""',
        "doctest.py": '"""' + ">>> first(second)\nThird fourth\n" * 9 + '"""',
        "broken.py": 'def f(:\n    """x"""',
    }
    for name, source in files.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    (tmp_path / "bytes.py").write_bytes(b'"""\xff"""')
    counts: Counter[str] = Counter()
    assert [record["text"] for record in iter_docstrings(tmp_path, counts=counts)] == [prose]
    assert counts == {
        "kept": 1,
        "duplicate": 1,
        "cjk": 1,
        "too_short": 1,
        "mostly_symbols": 1,
        "mostly_code": 1,
        "file_unparsable": 2,
    }


def test_packages_with_a_restricted_licence_are_left_out_and_others_name_theirs(tmp_path: Path):
    for name, license_name in (("free", "MIT"), ("bound", "CC-BY-NC-4.0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text(f'"""{PROSE.format(" " + name)}"""')
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nLicense-Expression: {license_name}\n")
        (info / "RECORD").write_text(f"{name}/code.py,,\n")
    counts: Counter[str] = Counter()
    records = list(iter_docstrings(tmp_path, counts=counts))
    assert [record["license"] for record in records] == ["MIT"]
    assert counts["restricted_license"] == 1


def test_a_folder_without_python_is_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="holds no"):
        next(iter_docstrings(tmp_path))
    with pytest.raises(InputError, match="expected a folder"):
        next(iter_docstrings(tmp_path / "missing"))


def test_our_own_environment_gives_prose():
    records = list(iter_docstrings(max_bytes=20_000))
    assert sum(len(record["text"].encode()) for record in records) >= 20_000
    assert all(reason_to_drop(record["text"]) is None for record in records)
