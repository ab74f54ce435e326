"""The machine: how many files may be open, and what the kernel allows."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.subject import Subject
from mediaserver.server.process.descriptors import needed_descriptors


_PROC: Final = Path("/proc/sys")
_CONNECTIONS_PER_CALL: Final = 4
"""The stream, and three services of an agent."""


async def open_files(subject: Subject) -> Finding:
    """Tell whether the sockets of all calls fit into the hard limit, to which the server goes."""
    return judge_files(subject, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def judge_files(subject: Subject, hard: int) -> Finding:
    """Judge a hard limit of open files."""
    settings = subject.settings
    calls = settings.max_calls * _CONNECTIONS_PER_CALL
    needed = needed_descriptors(calls, settings.max_idle_connections)
    if hard == resource.RLIM_INFINITY or hard >= needed:
        shown = "any number of" if hard == resource.RLIM_INFINITY else str(hard)
        return passed(f"{shown} files may be open, started from here; {needed} may be needed")
    return failed(
        f"{hard} files may be open, started from here; {settings.max_calls} calls with"
        f" {_CONNECTIONS_PER_CALL} connections each and idle connections need {needed}",
        f"raise LimitNOFILE= of the systemd unit, --ulimit nofile={needed} of Docker, or"
        " ulimit -Hn; or lower max_calls",
    )


class KernelSetting(NamedTuple):
    """One value below /proc/sys, and what it should be."""

    name: str
    file: str
    """Below /proc/sys."""
    judge: Callable[[Subject, list[int]], str | None]
    """Takes the numbers in the file; returns why they are wrong."""
    mend: Callable[[Subject], str]
    """Returns what to give to ``sysctl -w``."""


def judge_kernel(subject: Subject, setting: KernelSetting, content: str | None) -> Finding:
    """Judge the content of a file below /proc/sys; None if it is not there."""
    key = setting.file.replace("/", ".")
    if content is None:
        return skipped(f"this system has no {key}")
    numbers = [int(each) for each in content.split() if each.isdecimal()]
    shown = " ".join(map(str, numbers))
    if (wrong := setting.judge(subject, numbers)) is None:
        return passed(f"{key} is {shown}")
    value = setting.mend(subject)
    return failed(
        f"{key} is {shown}: {wrong}",
        f'sysctl -w {key}="{value}", and the same line in /etc/sysctl.d/mediaserver.conf',
    )


def kernel_check(setting: KernelSetting, root: Path = _PROC) -> Callable[[Subject], Finding]:
    """Return the check of one setting of the kernel."""

    def check(subject: Subject) -> Finding:
        try:
            content = (root / setting.file).read_text("ascii")
        except OSError:
            content = None
        return judge_kernel(subject, setting, content)

    return check


def _at_least(least: Callable[[Subject], int], why: str) -> Callable[..., str | None]:
    def judge(subject: Subject, numbers: list[int]) -> str | None:
        needed = least(subject)
        return None if numbers and numbers[0] >= needed else f"{why}, which needs {needed}"

    return judge


_BACKLOG: Final = 2048
"""Connections that the server asks the kernel to keep; the kernel keeps no more than this."""
_SYN_BACKLOG: Final = 1024
_PORTS: Final = 10_000


def _connections(subject: Subject) -> int:
    """Return how many connections there may be, to the server and from it, and through a proxy."""
    settings = subject.settings
    return 2 * (_CONNECTIONS_PER_CALL * settings.max_calls + settings.max_idle_connections)


def _ports(subject: Subject) -> int:
    return max(_PORTS, _connections(subject))


def _first_port(subject: Subject) -> int:
    return min(32768, 61000 - _ports(subject))


def _judge_ports(subject: Subject, numbers: list[int]) -> str | None:
    if len(numbers) != 2:
        return "two numbers are expected"
    first, last = numbers
    if last - first < _ports(subject):
        return (
            f"connections to services and through a local proxy need {_ports(subject)} ports, and"
            f" there are {last - first}"
        )
    if first <= subject.settings.port <= last:
        return (
            f"port {subject.settings.port}, where the server listens, is in the range: another"
            " connection may have it when the server starts. Choose another port, or raise the"
            " beginning"
        )
    return None


def _port_range(subject: Subject) -> str:
    port = subject.settings.port
    first = max(_first_port(subject), port + 1 if port < 61000 - _ports(subject) else 1024)
    return f"{first} {max(60999, first + _ports(subject))}"


KERNEL_SETTINGS: Final = (
    KernelSetting(
        "connection backlog",
        "net/core/somaxconn",
        _at_least(lambda _: _BACKLOG, "bursts of new calls wait in the backlog of the listener"),
        lambda _: str(2 * _BACKLOG),
    ),
    KernelSetting(
        "connections being made",
        "net/ipv4/tcp_max_syn_backlog",
        _at_least(lambda _: _SYN_BACKLOG, "bursts of new calls wait here at first"),
        lambda _: str(2 * _BACKLOG),
    ),
    KernelSetting("ports", "net/ipv4/ip_local_port_range", _judge_ports, _port_range),
    KernelSetting(
        "tracked connections",
        "net/netfilter/nf_conntrack_max",
        _at_least(_connections, "beyond it the firewall drops packets of calls"),
        lambda subject: str(2 * _connections(subject)),
    ),
    KernelSetting(
        "files of the system",
        "fs/file-max",
        _at_least(_connections, "all programs together need a file for each connection"),
        lambda subject: str(4 * _connections(subject)),
    ),
)
"""What the kernel allows, for the table of checks."""
