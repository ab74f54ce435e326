"""Network namespaces for the servers of a benchmark, so that one can vanish; needs root."""

import os
import shutil
import subprocess

from benchmarks.processes import BenchmarkError


NETWORK = "10.231.0.0/16"


class Namespace:
    """A namespace with an address of its own, which the machine reaches over a pair of devices.

    Args:
        number: Which of the benchmark's it is, from 1.

    Raises:
        BenchmarkError: This user or this machine cannot make one.

    """

    def __init__(self, number: int) -> None:
        self.address = f"10.231.{number}.2"
        self._name = f"mediaserver-{os.getpid()}-{number}"
        self._device = f"ms{os.getpid()}n{number}"
        if os.geteuid() or shutil.which("ip") is None:
            raise BenchmarkError("network namespaces need root and the program ip (iproute2)")
        try:
            _ip("netns", "add", self._name)
            _ip("link", "add", self._device, "type", "veth", "peer", "eth0", "netns", self._name)
            _ip("address", "add", f"10.231.{number}.1/24", "dev", self._device)
            _ip("link", "set", self._device, "up")
            _ip("-netns", self._name, "address", "add", f"{self.address}/24", "dev", "eth0")
            _ip("-netns", self._name, "link", "set", "eth0", "up")
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
        _ip("-netns", self._name, "link", "set", "eth0", "down")

    def remove(self) -> None:
        """Remove it with its devices."""
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"ip {' '.join(words)}: {done.stderr.decode().strip()}")
