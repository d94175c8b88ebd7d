"""One extended tiny model a session: what extend-vocab writes, opened by the libraries that will read it."""

from pathlib import Path

import orjson
import pytest

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
