"""One extended tiny model a session: what extend-vocab writes, opened by the libraries that will read it."""

import shutil
from pathlib import Path

import orjson
import pytest
from extending import LINE

from tokenizer.extend import ExtendConfig, extend


@pytest.fixture(scope="session")
def extended_folder(tiny_model_folder: Path, chinese_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with up to 300 new tokens; never write into it."""
    out = tmp_path_factory.mktemp("extended") / "model"
    return extend(
        ExtendConfig(
            base=tiny_model_folder,
            corpus=(chinese_file,),
            num_new_tokens=300,
            out=out,
            init="merge-tree",
            pad_to_multiple=64,
        )
    )


@pytest.fixture(scope="session")
def english_lines(english_file: Path) -> list[str]:
    """The English documents' texts."""
    return [orjson.loads(line)["text"] for line in english_file.read_bytes().splitlines()]


@pytest.fixture
def model_copy(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """The tiny base, to be changed."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "base"))


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """One Chinese sentence, forty times."""
    path = tmp_path / "text.txt"
    path.write_text(f"{LINE}\n" * 40, encoding="utf-8")
    return path
