"""Which fault the soak benchmark injects when: one a second, from a seed. Knows no sockets."""

from collections.abc import Mapping
from itertools import count
from random import Random
from types import MappingProxyType
from typing import Final, NamedTuple


PEERS: Final = ("stall", "reset", "garbage", "half-open", "slow answer")
"""What a peer does wrong. Each second that has nothing worse has one of these."""

REDIS, DATABASE, KILL, RELOAD = "redis restart", "database restart", "kill", "reload"

PERIODS: Final[Mapping[str, float]] = MappingProxyType(
    {RELOAD: 90.0, KILL: 60.0, DATABASE: 60.0, REDIS: 45.0}
)
"""Seconds between two faults of a kind, on average."""


class Fault(NamedTuple):
    """Something that goes wrong.

    Attributes:
        at: Seconds from the start.
        kind: One of `PEERS`, or a key of `PERIODS`.
        spares_oldest: Whether the worker that has lived longest is left alone, so that its memory
            can be watched.

    """

    at: int
    kind: str
    spares_oldest: bool = False


def fault_schedule(seconds: int, random: Random) -> list[Fault]:
    """Return a fault for each second.

    In the last half no worker is replaced but the youngest: it has no reloads, and its kills spare
    the oldest. In a short run each kind comes once all the same.

    Args:
        seconds: How long faults are injected; at least 10, so that there is room for each kind.
        random: Shuffles.

    """
    half = seconds // 2
    worse: dict[int, str] = {}
    for kind, period in PERIODS.items():
        end = half if kind == RELOAD else seconds
        at = random.uniform(0.1, 0.5) * min(period, end)
        while at < end:
            free = next(each for each in count(int(at)) if each not in worse)
            if free < end:
                worse[free] = kind
            at += period * random.uniform(0.7, 1.3)
    faults, peers = [], list[str]()
    for at in range(seconds):
        if not peers:
            peers = random.sample(PEERS, len(PEERS))
        kind = worse.get(at) or peers.pop()
        faults.append(Fault(at, kind, spares_oldest=at >= half))
    return faults
