"""Hosts that are network namespaces of this machine: each its own address and links, one switch between them."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


class HostsUnavailable(Exception):  # noqa: N818  (a state of the machine)
    """Why there are no hosts to test with."""


class NetworkHosts:
    """Namespaces with the addresses 10.77.0.1, 10.77.0.2 …; the bridge between them lies in one of its own.

    Args:
        number: How many hosts.

    Raises:
        HostsUnavailable: If this machine or user may not make any; says why.
    """

    interface = "eth0"

    def __init__(self, number: int) -> None:
        if os.geteuid() != 0:
            raise HostsUnavailable("network namespaces need root")
        if shutil.which("ip") is None:
            raise HostsUnavailable("no ip here (Debian: apt-get install iproute2)")
        self._prefix = f"hanlm{os.getpid()}"
        self._switch = f"{self._prefix}-switch"
        self.addresses = [f"10.77.0.{i + 1}" for i in range(number)]
        try:
            self._build()
        except subprocess.CalledProcessError as error:
            self.close()
            raise HostsUnavailable(f"{' '.join(error.cmd)}: {error.stderr.strip()}") from error

    def ssh(self, folder: Path) -> str:
        """Write a program that runs a command on a host, as ssh would, and return its path."""
        program = folder / "ssh"
        program.write_text(f'#!/bin/sh\nexec ip netns exec {self._prefix}-"$1" sh -c "$2"\n')
        program.chmod(0o755)
        return str(program)

    def cut_off(self, address: str) -> None:
        """Pull the cable of a host: what it sends and what is sent to it is lost without a word."""
        self._ip("-n", self._switch, "link", "set", self._port(address), "down")

    def plug_in(self, address: str) -> None:
        """Put the cable back."""
        self._ip("-n", self._switch, "link", "set", self._port(address), "up")

    def power_off(self, address: str) -> None:
        """Kill every process of a host, as a power cut would."""
        found = self._ip("netns", "pids", f"{self._prefix}-{address}")
        for pid in map(int, found.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End what still runs on the hosts, and remove them."""
        for address in self.addresses:
            with suppress(subprocess.CalledProcessError):
                self.power_off(address)
        for name in (self._switch, *(f"{self._prefix}-{address}" for address in self.addresses)):
            with suppress(subprocess.CalledProcessError):
                self._ip("netns", "del", name)

    def _build(self) -> None:
        self._ip("netns", "add", self._switch)
        self._ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        self._ip("-n", self._switch, "link", "set", "bridge", "up")
        for address in self.addresses:
            host, port = f"{self._prefix}-{address}", self._port(address)
            self._ip("netns", "add", host)
            ends = ("link", "add", port, "netns", self._switch, "type", "veth", "peer", "name", self.interface)
            self._ip(*ends, "netns", host)
            self._ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
            self._ip("-n", host, "address", "add", f"{address}/24", "dev", self.interface)
            for link in ("lo", self.interface):
                self._ip("-n", host, "link", "set", link, "up")

    def _port(self, address: str) -> str:
        return f"port{address.rpartition('.')[2]}"

    @staticmethod
    def _ip(*words: str) -> str:
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
