"""What all calls of one process share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from mediaserver.call import CallSettings, Clock, StreamCounters
from mediaserver.handler import Routes
from mediaserver.server.admission import Admission
from mediaserver.server.call_control import CloseStream
from mediaserver.server.coalescing import Coalescing
from mediaserver.server.counters import ServerCounters
from mediaserver.server.pacing import Pacer
from mediaserver.server.sweep import Sweep
from mediaserver.settings import Settings
from mediaserver.stream import CallControl


if TYPE_CHECKING:
    from mediaserver.server.handshake import Verifier
    from mediaserver.server.live import LiveCall


class Runtime:
    """The state of one server process.

    Args:
        settings: the server's settings.
        routes: which handler takes which call.
        clock: monotonic seconds, as exact as they come: an event loop's own may stand still while
            a callback runs.
        call_control: how calls are hung up and transferred.
        verifiers: what else must hold before a stream is accepted.

    """

    pacer: Pacer
    sweep: Sweep

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        *,
        clock: Clock = time.monotonic,
        call_control: CallControl | None = None,
        verifiers: Sequence[Verifier] = (),
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.routes = routes
        self.call_control = call_control or CloseStream()
        self.verifiers = verifiers
        self.call_settings = CallSettings(
            default_format=settings.default_format,
            lead=settings.lead_seconds,
            queue_high=settings.queue_seconds,
            queue_low=settings.queue_seconds / 2,
            inbox_length=settings.inbox_seconds,
            inbox_overflow=settings.inbox_overflow,
            max_message_size=settings.max_message_bytes,
        )
        self.calls: set[LiveCall] = set()
        self.counters = ServerCounters(self.calls)
        self.ended_totals = StreamCounters()
        self.draining = False
        self.ready = False
        self._stack = AsyncExitStack()

    async def startup(self) -> None:
        """Open the handlers' lifespans and start what calls share. Call it in their event loop."""
        loop = asyncio.get_running_loop()
        self.pacer = Pacer(loop)
        self.sweep = Sweep(loop, self.clock)
        self.coalescing = Coalescing(loop, self.calls, interval=float(__import__("os").environ.get("COAL","0")))
        self.admission = Admission(
            self.settings.max_calls,
            hold_seconds=self.settings.reservation_seconds,
            clock=self.clock,
        )
        await self._stack.enter_async_context(self.routes.lifespan())
        self.ready = True

    async def shutdown(self) -> None:
        """Close what `startup` opened. Calls should have ended before."""
        self.ready = False
        self.pacer.stop()
        self.sweep.stop()
        self.coalescing.stop()
        await self._stack.aclose()

    def enter(self, call: LiveCall) -> None:
        """Take a call in."""
        self.calls.add(call)
        self.counters.calls_total += 1
        self.sweep.add(call)
        self.coalescing.look()

    def leave(self, call: LiveCall) -> None:
        """Let go of a call whose connection and handler are both gone."""
        if call not in self.calls:
            return
        self.calls.discard(call)
        self.sweep.discard(call)
        if call.session.start is not None:
            self.pacer.discard(call.session.playout)
        self.ended_totals.add(call.session.counters)
        call.accepted.slot.release()

    def stream_totals(self) -> StreamCounters:
        """Return the sum of what all streams counted, ended and live."""
        totals = StreamCounters()
        totals.add(self.ended_totals)
        for call in self.calls:
            totals.add(call.session.counters)
        return totals

    def close_calls(self, code: int, reason: str) -> None:
        """Begin to close every live call."""
        for call in tuple(self.calls):
            call.close(code, reason)
