"""``python -m hanlm.torchrun``: torchrun, with the exit code and the last sentence of the command that it runs.

torchrun itself ends in a traceback and code 1 when a signal stops it or a process fails, and kills processes that
take longer than 30 seconds to save. Flags are torchrun's own.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from hanlm.errors import Interrupted
from hanlm.launch import shell_code
from hanlm.log import SENTENCES, say
from hanlm.parent import as_parent, end_with_parent

_SECONDS_TO_SAVE = 1800


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run torchrun and exit: 75 if a signal stopped it, else as the first process that failed, else 0."""
    end_with_parent()
    with TemporaryDirectory(prefix="hanlm-") as sentences:
        os.environ |= as_parent() | {SENTENCES: sentences}
        os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
        logging.disable()  # which process got which signal, and a table of what is said here in one sentence
        code = _run(list(sys.argv[1:] if argv is None else argv), Path(sentences))
    sys.exit(code)


def _run(argv: list[str], sentences: Path) -> int:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(argv))
    except SignalException:
        _repeat(sentences)
        return Interrupted.exit_code
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            say(f"hanlm: process {rank} was ended by {name}; if nobody sent that, look whether memory ran out.")
        else:
            _repeat(sentences, rank)
        return shell_code(failure.exitcode)
    return 0


def _repeat(sentences: Path, rank: int | None = None) -> None:
    """Print the last sentence of a process, or of the first one here that left any."""
    said = {int(file.name): file for file in sentences.iterdir()}
    chosen = min(said, default=None) if rank is None else rank
    if chosen in said:
        say(f"hanlm: {said[chosen].read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()
