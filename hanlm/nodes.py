"""The nodes of a job, as the script that starts it names them: each one's agent calls the roll before torchrun."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from hanlm.errors import ConfigError
from hanlm.roll_call import MissingNodes, Presence, code_versions, roll_call

NODES = "HANLM_NODES"
"""Names of all nodes, separated by commas; the first one leads."""
NODE = "HANLM_NODE"
"""Name of this one; without it Slurm's, or the machine's."""
START_SECONDS = "HANLM_START_SECONDS"
"""How long to wait for the last one."""
DEFAULT_START_SECONDS = 600.0
_TRY = timedelta(seconds=5)
"""Of one try to connect, during which no signal is handled."""
_PAUSE_SECONDS = 0.2


def this_node() -> str:
    """Return the name of this machine in the job."""
    return os.environ.get(NODE) or os.environ.get("SLURMD_NODENAME") or socket.gethostname()


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """The nodes of a job, and which one this is."""

    names: tuple[str, ...]
    index: int
    start_seconds: float

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Self | None:
        """Return the nodes that the environment names, or None where it names none, or only one.

        Raises:
            ConfigError: If this node is not among them.
        """
        names = tuple(env.get(NODES, "").split(","))
        if len(names) < 2:
            return None
        if (me := this_node()) not in names:
            raise ConfigError(f"expected {NODE} to be one of {', '.join(names)}, got {me}; set it to this node's name.")
        seconds = float(env.get(START_SECONDS, DEFAULT_START_SECONDS))
        return cls(names=names, index=names.index(me), start_seconds=seconds)

    def meet(self, endpoint: str) -> Any:
        """Call the roll of nodes at the port after torchrun's own.

        Args:
            endpoint: ``HOST:PORT`` of torchrun's rendezvous, on the first node.

        Returns:
            The store, which the first node has to keep while others may still read it.

        Raises:
            MissingNodes: Names who did not come.
            ConfigError: If nodes run different code.
        """
        store = self._reach(endpoint)
        presence = Presence(node=self.names[self.index], versions=code_versions())
        roll_call(store, presence, index=self.index, names=self.names, seconds=self.start_seconds)
        return store

    def _reach(self, endpoint: str) -> Any:
        from torch.distributed import DistError, TCPStore

        host, _, port = endpoint.rpartition(":")
        until = time.monotonic() + self.start_seconds
        while True:
            try:
                return TCPStore(host, int(port) + 1, is_master=self.index == 0, timeout=_TRY, wait_for_workers=False)
            except (DistError, OSError) as error:
                if time.monotonic() > until:
                    raise MissingNodes(
                        f"{self.names[0]} ({host}:{int(port) + 1}), which calls the nodes together, could not be "
                        f"reached from {self.names[self.index]} within {self.start_seconds:g} s; look whether it runs, "
                        "and whether that is the right network, and run the same command again."
                    ) from error
            time.sleep(_PAUSE_SECONDS)
