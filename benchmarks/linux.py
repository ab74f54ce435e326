"""What the transport benchmark asks of Linux: cores, process clocks, resident memory."""

import ctypes
import os
import signal
import time
from pathlib import Path


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def cores() -> tuple[int, int]:
    """Return the server's core and the load's, which are the same on a machine with one core."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[min(1, len(available) - 1)]


def pin_child(core: int) -> None:
    """Bind a freshly forked child to `core` and have it killed if its parent dies.

    Call it between fork and exec (`subprocess.Popen(preexec_fn=…)`), so that every thread that the
    program starts later is bound too.
    """
    os.sched_setaffinity(0, {core})
    end_with_parent()


def end_with_parent() -> None:
    """Have a freshly forked child killed if its parent dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads of a process, to the nanosecond.

    `/proc/PID/stat` has the same sum in ticks of 10 ms. The clock id is what
    clock_getcpuclockid(3) computes.
    """
    return time.clock_gettime((~pid << 3) | 2)


def busy_seconds() -> float:
    """Return how long all cores of the machine together have worked."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _wait, interrupts, soft, _stolen = map(int, fields)
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def waited_seconds(pid: int) -> float:
    """Return how long the main thread of a process was ready to run while others held its core.

    The second field of `/proc/PID/schedstat`, in nanoseconds.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def resident_bytes(pid: int) -> int:
    """Return the resident set of a process, counted page by page.

    `statm` would be cheaper, but the kernel keeps it per core and sums it lazily.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Rss line")
