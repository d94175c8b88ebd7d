"""``python -m hanlm.torchrun``: torchrun, with the exit code and the last sentence of the command that it runs.

torchrun itself ends in a traceback and code 1 when a signal stops it or a process fails, and kills processes that
take longer than 30 seconds to save. Flags are torchrun's own. Where the environment names the nodes of the job
(``hanlm.nodes``), they call the roll first: torchrun's own rendezvous never says who is missing.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from hanlm.errors import HanLMError, Interrupted
from hanlm.last_words import LastWords, collect_in, decisive
from hanlm.launch import shell_code
from hanlm.log import say
from hanlm.nodes import DEFAULT_START_SECONDS, NODE, START_SECONDS, Nodes, this_node
from hanlm.parent import as_parent, end_with_parent
from hanlm.stuck_agent import watch

_SECONDS_TO_SAVE = 1800
_SECONDS_TO_SPARE = 60.0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run torchrun and exit: 75 if a signal stopped it, else as the process that was the first to fail, else 0."""
    end_with_parent()
    with TemporaryDirectory(prefix="hanlm-") as folder:
        os.environ |= as_parent() | collect_in(Path(folder))
        os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
        # Else all restarts share one store, and a process may read there where another one was before it died.
        os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
        logging.disable()  # which process got which signal, and a table of what is said here in one sentence
        code = _run(list(sys.argv[1:] if argv is None else argv), Path(folder))
    sys.exit(code)


def _run(argv: list[str], folder: Path) -> int:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import parse_args, run

    args = parse_args(argv)
    patience = float(os.environ.get(START_SECONDS, DEFAULT_START_SECONDS))
    watch(2 * patience + _SECONDS_TO_SPARE, lambda: _say_last(folder))
    try:
        _store = _meet(args)  # the first node's holds what the others read
        run(args)
    except HanLMError as error:
        say(f"hanlm: {error}")
        return error.exit_code
    except RendezvousError as error:
        say(
            f"hanlm: not all of {args.nnodes} nodes came together at {args.rdzv_endpoint} in time ({error}); look "
            "which one does not run, or does not reach that address, and run the same command again."
        )
        return Interrupted.exit_code
    except SignalException:
        _say_last(folder)
        return Interrupted.exit_code
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        return _say_why(codes, decisive(folder), first=error.get_first_failure()[0])
    return 0


def _say_last(folder: Path) -> None:
    if words := decisive(folder):
        say(words.text)


def _meet(args: Any) -> Any:
    """Call the roll of nodes, if the environment names several; returns what has to be kept while torchrun runs."""
    nodes = Nodes.from_environment()
    if nodes is None:
        return None
    os.environ[NODE] = this_node()  # its processes tell it too
    store = nodes.meet(args.rdzv_endpoint)
    # torchrun guesses from host names who is to open the port, and a node may have several.
    is_host = f"is_host={str(nodes.index == 0).lower()}"
    args.rdzv_conf = ",".join(filter(None, (args.rdzv_conf, is_host)))
    return store


def _say_why(codes: Mapping[int, int], words: LastWords | None, first: int) -> int:
    """Print the cause of a failure and return its exit code.

    Args:
        codes: Exit codes of the processes that failed, by rank; negative for signals.
        words: The decisive last words, if any process left some.
        first: The rank that torchrun saw fail first.
    """
    killed = [rank for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM]
    if killed and (words is None or words.exit_code in (1, Interrupted.exit_code)):
        name = signal.Signals(-codes[killed[0]]).name
        say(f"hanlm: process {killed[0]} was ended by {name}; if nobody sent that, look whether memory ran out.")
        return shell_code(codes[killed[0]])
    if words is None:
        return shell_code(codes[first])
    say(words.text)
    return words.exit_code


if __name__ == "__main__":
    main()
