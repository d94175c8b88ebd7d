"""Shell commands that make another machine run the interpreter, and the code, that this process runs."""

import shlex
import sys
import sysconfig
from pathlib import Path

import hanlm


def this_environment() -> list[str]:
    """Return the lines; they suppose that both lie at the same paths there, as on storage that all machines share."""
    lines = [f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"']
    code = Path(hanlm.__file__).parents[1]
    if code != Path(sysconfig.get_path("purelib")):
        lines.append(f'export PYTHONPATH={shlex.quote(str(code))}"${{PYTHONPATH:+:$PYTHONPATH}}"')
    return lines
