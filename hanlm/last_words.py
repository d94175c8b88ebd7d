"""The sentence that a command ends with: of all processes of a torchrun, the one that tells the cause."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from hanlm.errors import Interrupted
from hanlm.files import replace_text
from hanlm.log import say

_FOLDER = "HANLM_LAST_WORDS"
_BUG = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LastWords:
    """Why a process ends."""

    text: str
    exit_code: int


def end(text: str, exit_code: int) -> int:
    """Say why this process ends, and return its exit code; under ``hanlm.torchrun`` that one speaks for all."""
    folder = os.environ.get(_FOLDER)
    if folder is None:
        say(text)
    else:
        words = asdict(LastWords(text=text, exit_code=exit_code))
        replace_text(Path(folder, os.environ["RANK"]), json.dumps(words))
    return exit_code


def are_collected() -> bool:
    """Say whether ``hanlm.torchrun`` wants to know why this process ends."""
    return _FOLDER in os.environ


def collect_in(folder: Path) -> dict[str, str]:
    """Return the environment for processes whose last words are to be left in a folder."""
    return {_FOLDER: str(folder)}


def decisive(folder: Path) -> LastWords | None:
    """Return the words that tell the cause: the others ended because that process did.

    A process that loses the one it waits for fails as from a bug, and torchrun stops those that still run.
    """
    said = [
        (file.stat().st_mtime_ns, int(file.name), LastWords(**json.loads(file.read_text(encoding="utf-8"))))
        for file in folder.iterdir()
        if file.name.isdigit()
    ]
    order = {_BUG: 1, Interrupted.exit_code: 2}
    return min(said, key=lambda entry: (order.get(entry[2].exit_code, 0), *entry[:2]), default=(0, 0, None))[2]
