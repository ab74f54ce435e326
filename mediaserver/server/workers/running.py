"""Runs a server with workers: listens, starts the supervisor, and serves operators beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from mediaserver.server.admin.directory import Directory
from mediaserver.server.process.announcing import announce_addresses
from mediaserver.server.process.daemon import load_certificates
from mediaserver.server.process.descriptors import raise_descriptor_limit
from mediaserver.server.process.listening import address_of, web_address_of
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.server.process.systemd import Notifier, listening_sockets
from mediaserver.server.workers.channel import channel_pair
from mediaserver.server.workers.crew_calls import CrewCalls
from mediaserver.server.workers.duty import CHANNEL_VARIABLE
from mediaserver.server.workers.employed import StartedProcess, WorkerProcess
from mediaserver.server.workers.messages import ListeningAddress
from mediaserver.server.workers.supervisor import Supervisor
from mediaserver.settings import Settings, variable_of
from mediaserver.telemetry.logs import configure_logs


_IMPORT_SECONDS: Final = 60.0
"""Seconds for a worker to import the handlers, before their lifespans open."""

_EXIT_SECONDS: Final = 30.0
"""Seconds for a worker to end once all that it waits for by the settings is over."""


def run_supervisor(settings: Settings, command: Sequence[str]) -> int:
    """Run a supervisor until it is asked to stop, and return the exit status.

    Args:
        settings: Its settings. Workers read their own.
        command: The command line of a worker.

    Raises:
        BindError: An address cannot be listened on.
        ChannelError: This system cannot have workers.
        TLSError: The certificate files cannot be used.

    """
    configure_logs(settings.log_level, settings.log_format)
    for end in channel_pair():
        end.close()
    raise_descriptor_limit()
    load_certificates(settings)
    notifier = Notifier()
    calls, metrics = listening_sockets(settings)
    listeners = [(sock, ListeningAddress(*address_of(sock))) for sock in calls]
    environment = dict(os.environ)
    if settings.secret_is_random:
        environment[variable_of("secret")] = settings.secret.get_secret_value()

    async def start(descriptor: int) -> StartedProcess:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[descriptor],
            env=environment | {CHANNEL_VARIABLE: str(descriptor)},
            # Ctrl-C in a terminal is for the supervisor, which tells its workers.
            start_new_session=True,
        )
        return WorkerProcess(process)

    def announce(side: SideListeners) -> None:
        addresses = [address_of(sock) for sock in calls]
        announce_addresses(
            settings,
            addresses,
            [address_of(sock) for sock in side.metrics],
            [web_address_of(sock) for sock in side.admin],
            workers=settings.workers,
        )

    async def run(side: SideListeners) -> int:
        supervisor = Supervisor(
            settings.workers,
            listeners,
            start,
            # The lifespans have a limit of their own; importing a handler has none.
            starts_within=settings.lifespan_timeout + _IMPORT_SECONDS,
            # What a stop may wait for by the settings comes before.
            ends_within=settings.drain_delay
            + settings.lifespan_timeout
            + 2 * settings.after_call_seconds
            + _EXIT_SECONDS,
            blocked_within=settings.worker_watchdog,
            calls_limit=settings.max_calls,
            node=settings.node,
            notifier=notifier,
            ready=partial(announce, side),
        )
        operated = CrewCalls(supervisor)
        supervisor.told_last = operated.keep_last
        async with AsyncExitStack() as stack:
            side.serve(await _widened(operated, settings, supervisor.machine, stack))
            looking = asyncio.create_task(operated.keep_looking())
            try:
                return await supervisor.run()
            finally:
                looking.cancel()
                await side.close()

    try:
        return asyncio.run(run(SideListeners(settings, metrics)))
    finally:
        for sock in (*calls, *metrics):
            sock.close()


async def _widened(
    operated: Directory, settings: Settings, machine: str, stack: AsyncExitStack
) -> Directory:
    """Let operators see the calls of the fleet, if the settings name one."""
    if settings.redis is None:
        return operated
    # They need the package redis.
    from mediaserver.server.fleet.directory import FleetDirectory
    from mediaserver.server.fleet.observer import FleetObserver

    observer = FleetObserver(settings, machine)
    await stack.enter_async_context(observer.joined())
    return FleetDirectory(operated, observer)
