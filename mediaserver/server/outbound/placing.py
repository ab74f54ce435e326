"""A server that runs for the duration of some outbound calls, for ``mediaserver dial``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
from mediaserver.server.process.daemon import Daemon, load_certificates
from mediaserver.server.process.listening import bind
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
    handler_settings: Mapping[str, Any] | None = None,
    machine: Machine = "ignore",
    ring_seconds: int = RING_SECONDS,
    longest_seconds: int | None = None,
    calls_per_second: float = CALLS_PER_SECOND,
) -> list[DialReport | Exception]:
    """Run a server, place the calls, and return when all have ended.

    A signal stops it as it stops a server: answered calls may finish, and the others are given up.

    Args:
        settings: The server's settings; Plivo reaches it at `public_url`.
        client: A client of Plivo's REST API.
        handler: The handler for answered calls.
        to: The numbers to call.
        from_: A number of the account.
        handler_settings: Keyword arguments for the handler, such as an agent's ``greeting``.
        machine: Whether to detect answering machines, as in `Dialler.dial`.
        ring_seconds: Seconds to let each call ring.
        longest_seconds: Longest duration of each call in seconds.
        calls_per_second: The limit for placing calls.

    Returns:
        For each of `to`, in that order, a report, or the error that prevented the call.

    Raises:
        DialError: `public_url` is not set, the server did not start, or a service of the handler
            cannot be reached.
        HandlerError: `handler` is not a handler, or does not take the settings.
        BindError: The server cannot listen on the address.
        TLSError: The certificate files cannot be used.

    """
    dialler = Dialler(client, handler, settings=handler_settings, calls_per_second=calls_per_second)
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
        if unready := runtime.routes.unready:
            # Whoever answers would hear silence.
            reasons = "; ".join(f"{name}: {reason}" for name, reason in unready.items())
            raise DialError(f"no call was placed, because a service is not ready: {reasons}")
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
        # Twice, so that calls that were given up are not waited for.
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
