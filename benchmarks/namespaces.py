"""Network namespaces for the servers of a benchmark, so that one can vanish; needs root."""

import os
import shutil
import subprocess

from benchmarks.errors import BenchmarkError


NETWORK = "10.231.0.0/16"
"""Addresses by which calls reach the servers."""
_DEVICE, _STORE_DEVICE = "eth0", "store0"


class Namespace:
    """A namespace with an address of its own, which the machine reaches over a pair of devices.

    Over another pair it reaches the machine, so that it can be cut off from what is there alone.

    Args:
        number: Which of the benchmark's it is, from 1.

    Raises:
        BenchmarkError: This user or this machine cannot make one.

    """

    def __init__(self, number: int) -> None:
        self.address = f"10.231.{number}.2"
        """Where it is reached."""
        self.store_address = f"10.232.{number}.1"
        """Where it reaches the machine over the other pair."""
        self._name = f"mediaserver-{os.getpid()}-{number}"
        if os.geteuid() or shutil.which("ip") is None:
            raise BenchmarkError("network namespaces need root and the program ip (iproute2)")
        try:
            _ip("netns", "add", self._name)
            for network, letter, device in ((231, "n", _DEVICE), (232, "s", _STORE_DEVICE)):
                near, far = f"10.{network}.{number}.1/24", f"10.{network}.{number}.2/24"
                outside = f"ms{os.getpid()}{letter}{number}"
                _ip("link", "add", outside, "type", "veth", "peer", device, "netns", self._name)
                _ip("address", "add", near, "dev", outside)
                _ip("link", "set", outside, "up")
                _ip("-netns", self._name, "address", "add", far, "dev", device)
                _ip("-netns", self._name, "link", "set", device, "up")
            _ip("-netns", self._name, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise

    @property
    def command(self) -> list[str]:
        """What precedes a command that runs in it."""
        return ["ip", "netns", "exec", self._name]

    def vanish(self) -> None:
        """Cut it off: what is sent to it is lost, and nobody is told."""
        _ip("-netns", self._name, "link", "set", _DEVICE, "down")

    def cut(self) -> None:
        """Cut it off from what it reaches at `store_address`, and from nothing else."""
        _ip("-netns", self._name, "link", "set", _STORE_DEVICE, "down")

    def mend(self) -> None:
        """Let it reach that again."""
        _ip("-netns", self._name, "link", "set", _STORE_DEVICE, "up")

    def remove(self) -> None:
        """Remove it with its devices."""
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"ip {' '.join(words)}: {done.stderr.decode().strip()}")
