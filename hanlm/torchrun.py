"""``python -m hanlm.torchrun``: torchrun, with the exit code of the command that it runs.

torchrun itself ends in a traceback and code 1 when a signal stops it or a process fails, and kills processes that
take longer than 30 seconds to save. Flags are torchrun's own.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hanlm.errors import Interrupted
from hanlm.launch import shell_code

_SECONDS_TO_SAVE = 1800


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run torchrun and exit: 75 if a signal stopped it, else as the first process that failed, else 0."""
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
    os.environ.setdefault("LOGLEVEL", "ERROR")
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(list(sys.argv[1:] if argv is None else argv)))
    except SignalException:
        sys.exit(Interrupted.exit_code)
    except ChildFailedError as error:
        sys.exit(shell_code(error.get_first_failure()[1].exitcode))
    sys.exit(0)


if __name__ == "__main__":
    main()
