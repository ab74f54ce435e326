"""How a process becomes a member of a fleet."""

from __future__ import annotations

from collections.abc import Callable

from mediaserver.server.admin.directory import Directory
from mediaserver.server.runtime import Runtime


def join_fleet(runtime: Runtime, machine: str | None = None) -> Callable[[Directory], Directory]:
    """Let a process belong to a fleet, if the settings say so.

    Args:
        runtime: The state of the process.
        machine: What the names of all processes of this server begin with, if it has several.

    Returns:
        What widens the directory of the process to that of the fleet.

    """
    if runtime.settings.redis is None:
        return lambda own: own
    # They need the package redis.
    from mediaserver.server.fleet.directory import FleetDirectory
    from mediaserver.server.fleet.fleet import Fleet

    fleet = Fleet(runtime, runtime.neighbours, machine=machine)
    runtime.fleet = runtime.neighbours = fleet

    def widen(own: Directory) -> Directory:
        fleet.own = own
        return FleetDirectory(own, fleet)

    return widen
