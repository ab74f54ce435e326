"""A server for as long as some calls take: what ``mediaserver dial`` runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mediaserver.handler import Handler, StreamHandler
from mediaserver.plivo.client import PlivoClient
from mediaserver.routes import Route, Routes
from mediaserver.server.outbound.dialler import (
    CALLS_PER_SECOND,
    OUTBOUND_PATH,
    RING_SECONDS,
    DialError,
    Dialler,
    Machine,
)
from mediaserver.server.outbound.outcome import DialReport
from mediaserver.server.process.daemon import Daemon, bind, load_certificates
from mediaserver.server.rest_call_control import RestCallControl
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


async def place_calls(
    settings: Settings,
    client: PlivoClient,
    handler: StreamHandler | type[Handler],
    to: Sequence[str],
    from_: str,
    *,
    machine: Machine = "ignore",
    ring_seconds: int = RING_SECONDS,
    longest_seconds: int | None = None,
    calls_per_second: float = CALLS_PER_SECOND,
) -> list[DialReport | Exception]:
    """Serve, call everybody, and return when all calls are over.

    A signal ends it as it ends a server: calls that have been answered may finish, the others are
    given up.

    Args:
        settings: The server's; `public_url` is where Plivo reaches it.
        client: Plivo's REST API.
        handler: What to run on each call that is answered.
        to: Who to call.
        from_: A number of the account.
        machine: What to do when a machine answers, as for `Dialler.dial`.
        ring_seconds: How long to let each ring.
        longest_seconds: How long each call may last.
        calls_per_second: How fast calls may be placed.

    Returns:
        A report for each of `to`, in that order, or the error that kept the call from being placed.

    Raises:
        DialError: `public_url` is not set, or the server did not start.
        BindError: The address cannot be listened on.
        TLSError: The certificate files cannot be used.

    """
    dialler = Dialler(client, handler, calls_per_second=calls_per_second)
    runtime = Runtime(
        settings,
        Routes(Route(dialler, OUTBOUND_PATH)),
        call_control=RestCallControl(client),
    )
    dialler.attach(runtime)
    certificates = load_certificates(settings)
    sockets = bind(settings)
    daemon = Daemon(runtime, certificates)
    serving = asyncio.create_task(daemon.serve(sockets))
    try:
        while not daemon.started:
            done, _ = await asyncio.wait({serving}, timeout=0.02)
            if done:
                raise DialError("the server did not start; its log says why")
        calls = [
            asyncio.create_task(
                dialler.dial(
                    number,
                    from_,
                    machine=machine,
                    ring_seconds=ring_seconds,
                    longest_seconds=longest_seconds,
                ),
                name=f"dial {number}",
            )
            for number in to
        ]
        return await _until_over(calls, serving)
    finally:
        # Twice: a call that is still there has been given up, and is not waited for.
        daemon.stop()
        daemon.stop()
        await serving
        for sock in sockets:
            sock.close()


async def _until_over(
    calls: list[asyncio.Task[DialReport]], serving: asyncio.Task[None]
) -> list[DialReport | Exception]:
    over = asyncio.gather(*calls, return_exceptions=True)
    either: set[asyncio.Future[Any]] = {over, serving}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for call in calls:
            call.cancel()
        results = await over
    given_up = DialError("given up: the server was stopped")
    return [each if isinstance(each, DialReport | Exception) else given_up for each in results]
