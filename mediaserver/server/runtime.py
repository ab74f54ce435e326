"""The state that all calls of one process share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import structlog

from mediaserver.call import CallSettings, Clock, StreamCounters, StreamReport
from mediaserver.containment import contain_tasks
from mediaserver.plivo.callbacks import AnswerRequest, Callback, HangupRequest, StreamStatusRequest
from mediaserver.routes import Route, Routes
from mediaserver.server.account import connect, has_account
from mediaserver.server.admission import Admission, Counts
from mediaserver.server.after_calls import AfterCalls
from mediaserver.server.answered import AnsweredCalls
from mediaserver.server.call_control import CloseStream
from mediaserver.server.coalescing import Coalescing
from mediaserver.server.counters import ServerCounters
from mediaserver.server.elsewhere import unique_name
from mediaserver.server.handler_labels import HandlerLabels
from mediaserver.server.handshake import Refused, Verifier
from mediaserver.server.lost_streams import LostStreams
from mediaserver.server.membership import Membership
from mediaserver.server.neighbours import Alone, Neighbours, ToldWebhook
from mediaserver.server.observers import CallObservers, ObservedCall
from mediaserver.server.pacing import Pacer
from mediaserver.server.prepared import PreparedHandlers
from mediaserver.server.refusals import RefusalLog
from mediaserver.server.relay import StreamRelay
from mediaserver.server.relocation import Relocation
from mediaserver.server.rest_call_control import RestCallControl
from mediaserver.server.route_limits import RouteLimits
from mediaserver.server.slices import Slices
from mediaserver.server.statuses import Statuses
from mediaserver.server.sweep import Sweep, Swept
from mediaserver.server.trust.verification import SignatureCheck
from mediaserver.settings import Settings
from mediaserver.stream import CallControl
from mediaserver.telemetry.metrics import CaptureFigures, RecordFigures


if TYPE_CHECKING:
    from mediaserver.records.call_records import CallRecords
    from mediaserver.server.captured_calls import CapturedCalls

log = structlog.get_logger("mediaserver.calls")


_PLAYS_ON = {"auto": None, "dropped": False, "kept": True}
"""By the setting ``reconnect_playback``: `CallSettings.plays_on_when_lost`."""


CallState: TypeAlias = Literal["starting", "live", "lost", "ending"]
"""``starting``: its stream has connected, and no start event has come; ``lost``: the connection is
lost, and Plivo may open the stream again; ``ending``: the stream is over, its handler not yet."""


class RunningCall(Swept, ObservedCall, Protocol):
    """A call, from its accepted handshake until its connection and its handler have both ended."""

    counts: bool
    """Whether it has a place among the calls of the fleet."""

    @property
    def state(self) -> CallState:
        """What the call is doing."""

    def report(self, status: StreamStatusRequest) -> None:
        """Pass a status callback to the handler."""

    def close(self, code: int, reason: str) -> None:
        """End the stream from this side."""

    def break_off(self) -> StreamReport | None:
        """End the stream if it lives, because Plivo has gone on without it.

        Returns:
            What is known of it if its connection was lost; None if it ended otherwise.

        """

    def closed_because(self, reason: str) -> contextlib.AbstractContextManager[None]:
        """Give this as the reason if the stream is closed within the block by its `Stream`."""

    async def finished(self) -> None:
        """Wait until the handler has returned."""


class Runtime:
    """The state of one server process.

    Args:
        settings: the server's settings.
        routes: which handler takes which call.
        clock: monotonic seconds, of the highest precision: an event loop's own clock may stand
            still while a callback runs.
        wall_clock: seconds since the epoch, which the processes of one server share.
        call_control: hangs up and transfers calls. By default, it uses Plivo's REST API if the
            settings name an account, and else closes the stream.
        verifiers: further checks before a stream is accepted.
        has_room: tells whether the process can open one more connection.
        coalesces: whether the event loop belongs to this server alone, so that it may be held back
            between turns (see `Coalescing`).
        process: the name of this process among those that serve the same calls; by default, a
            random one, after that of the node.
        neighbours: the other processes.
        counts: the places of all processes that share the limit of calls; by default, of this one
            alone.

    """

    pacer: Pacer
    sweep: Sweep

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        *,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
        call_control: CallControl | None = None,
        verifiers: Sequence[Verifier] = (),
        has_room: Callable[[], bool] = lambda: True,
        coalesces: bool = False,
        process: str | None = None,
        neighbours: Neighbours | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.stream_options = settings.stream_options
        """How calls are streamed, where neither their route nor their handler says it."""
        routes.check_streams(self.stream_options)
        self.clock = clock
        self.wall_clock = wall_clock
        self.settings = settings
        self.routes = routes
        self.process = process or unique_name(settings.node)
        """Names this process in the tokens of the calls that it has prepared."""
        self.neighbours: Neighbours = neighbours or Alone()
        self.relocation: Relocation | None = None
        """The way by which a stream is brought to the process that prepared its call, if any."""
        self.fleet: Membership | None = None
        """The fleet that this process belongs to, if any."""
        self.relays: set[StreamRelay] = set()
        """The streams of other processes whose TLS ends in this one."""
        self.call_control: CallControl = call_control or CloseStream()
        self._controls_by_account = call_control is None and has_account(settings)
        self.verifiers = verifiers
        self.coalescing: Coalescing | None = None
        self._coalesces = coalesces
        self.call_settings = CallSettings(
            default_format=settings.default_format,
            lead=settings.lead_seconds,
            queue_high=settings.queue_seconds,
            queue_low=settings.queue_seconds / 2,
            inbox_length=settings.inbox_seconds,
            inbox_overflow=settings.inbox_overflow,
            max_message_size=settings.max_message_bytes,
            plays_on_when_lost=_PLAYS_ON[settings.reconnect_playback],
            messages_per_second=settings.stream_messages_per_second,
            bytes_per_second=settings.stream_bytes_per_second,
            burst_seconds=settings.stream_burst_seconds,
        )
        self.admission = Admission(
            min(settings.max_calls, settings.max_calls_account or settings.max_calls),
            hold_seconds=settings.reservation_seconds,
            has_room=has_room,
            counts=counts,
            clock=clock,
        )
        self.route_limits = RouteLimits(routes, settings.route_limits)
        self.slices = Slices()
        self.calls: set[RunningCall] = set()
        self.without_calls = asyncio.Event()
        """Set while there is no call."""
        self.without_calls.set()
        self._labels = HandlerLabels(route.name for route in routes.routes)
        self.counters = ServerCounters(self.calls, self._labels)
        self._ended_totals = {label: StreamCounters() for label in self._labels.known}
        self.refusals = RefusalLog(clock)
        self.signatures = SignatureCheck.of(settings, clock=clock)
        self.answered = AnsweredCalls(settings.token_seconds, clock=clock)
        self.prepared = PreparedHandlers(
            routes,
            seconds=settings.token_seconds,
            limit=settings.max_calls,
            grace=settings.grace,
            answer_timeout=settings.answer_timeout,
            failed=self.handler_failed,
        )
        self.lost_streams = LostStreams(clock=clock)
        self.after_calls = AfterCalls(
            seconds=settings.after_call_seconds, failed=self.handler_failed
        )
        self.statuses = Statuses(self.counters.stream_statuses, clock=clock)
        self.listeners: list[Callable[[Callback], object]] = []
        """Called with every accepted webhook, after the server has acted on it."""
        self.observers = CallObservers()
        """Listen to what becomes of calls."""
        self.record_figures: RecordFigures | None = None
        """What is counted of call records, if there are any."""
        self._records: CallRecords | None = None
        self.captured: CapturedCalls | None = None
        """Captures the wire of calls, if any is captured."""
        self.screens: list[Callable[[Route, AnswerRequest], bool]] = []
        """Each tells whether a call may be streamed to a route; the call ends if one says no."""
        self.draining = False
        self.ready = False
        self.started = asyncio.Event()
        """Cleared while connections come in, but the handlers' lifespans are still opening."""
        self.started.set()
        self._stack = contextlib.AsyncExitStack()

    async def startup(self) -> None:
        """Open the handlers' lifespans and start the shared timers, in the calls' event loop."""
        loop = asyncio.get_running_loop()
        contain_tasks(loop, partial(self.handler_failed, call="?"))
        self.pacer = Pacer(loop, period=self.call_settings.message_length)
        self.sweep = Sweep(loop, self.clock)
        if self._coalesces:
            interval = self.settings.coalesce_seconds
            self.coalescing = Coalescing(loop, self.calls, interval=interval, clock=self.clock)
        async with contextlib.AsyncExitStack() as stack:
            if self._controls_by_account:
                client = await stack.enter_async_context(connect(self.settings))
                self.call_control = RestCallControl(client)
            if self.settings.records is not None:
                await stack.enter_async_context(self._recorded())
            if self.settings.capture is not None:
                await stack.enter_async_context(self._capturing())
            await stack.enter_async_context(self.routes.lifespan())
            if self.fleet is not None:
                await stack.enter_async_context(self.fleet.joined())
            if self.settings.traces:
                # It needs the packages of OpenTelemetry.
                from mediaserver.server.traces import traced

                await stack.enter_async_context(
                    traced(
                        self.observers,
                        process=self.process,
                        clock=self.clock,
                        wall_clock=self.wall_clock,
                        personal_data=self.settings.traces_personal_data,
                    )
                )
            # From here on `shutdown` closes it; a failure before this point has closed it already.
            self._stack = stack.pop_all()
        self.ready = True

    @contextlib.asynccontextmanager
    async def _recorded(self) -> AsyncIterator[None]:
        """Record calls within the block."""
        # Servers without records need not import them.
        from mediaserver.records.call_records import CallRecords
        from mediaserver.server.recorded_calls import RecordedCalls

        records = CallRecords(self.settings, self.process, clock=self.wall_clock)
        self._records = records
        self.record_figures = records.figures
        async with records.running():
            observer = RecordedCalls(
                records, self.counters, clock=self.clock, wall_clock=self.wall_clock
            )
            self.observers.add(observer)
            yield

    @contextlib.asynccontextmanager
    async def _capturing(self) -> AsyncIterator[None]:
        """Capture calls within the block."""
        from mediaserver.server.captured_calls import CapturedCalls

        captured = CapturedCalls(
            self.settings, self.process, clock=self.clock, wall_clock=self.wall_clock
        )
        async with captured.running():
            self.captured = captured
            self.observers.add(captured)
            yield

    @property
    def capture_figures(self) -> CaptureFigures | None:
        """What is counted of captures, if any call is captured."""
        return None if self.captured is None else self.captured.figures

    async def shutdown(self, *, waits: bool = True) -> None:
        """Close what `startup` opened. All calls should have ended.

        Args:
            waits: whether to wait for the work after the last calls.

        """
        self.ready = False
        await self.prepared.close()
        if waits:
            await self.after_calls.finish()
        elif self._records is not None:
            self._records.hurry()
        self.pacer.stop()
        self.sweep.stop()
        if self.coalescing is not None:
            self.coalescing.stop()
        await self._stack.aclose()

    def enter(self, call: RunningCall) -> None:
        """Add a call."""
        self.calls.add(call)
        self.without_calls.clear()
        if self.captured is not None:
            self.captured.begin(call)
        self.counters.calls_total += 1
        self.sweep.add(call)
        if self.coalescing is not None:
            self.coalescing.look()
        if self.fleet is not None:
            self.fleet.entered(call)

    def calls_of(self, route: Route) -> int:
        """Return how many calls of a route this process has or keeps a place for."""
        kept = self.admission.reserved_routes
        live = sum(
            call.accepted.route is route and call.accepted.slot.is_held for call in self.calls
        )
        return live + sum(label == route.label for label in kept.values())

    def is_full(self, route: Route) -> bool:
        """Tell whether this process has as many calls of a route as that may have."""
        limit = self.route_limits.of(route)
        return limit is not None and self.calls_of(route) >= limit

    def vacate(self, call_id: str) -> None:
        """Give back the places of a call's streams that are over, though their handlers still run.

        The call comes for another stream: otherwise it would count twice, and find itself busy.
        """
        for call in self.calls:
            # Of hundreds of calls few are ending, and this is asked for each that begins.
            if call.session.ended and call.call_id == call_id:
                call.accepted.slot.release()

    def has_call(self, call_id: str) -> bool:
        """Tell whether this process has a stream of a call."""
        return any(call.call_id == call_id for call in self.calls)

    def refuse(self, refused: Refused, path: str) -> None:
        """Count and log a refused stream."""
        self.counters.refuse(refused.cause)
        self.refusals.note(
            "stream refused", status=refused.status, reason=refused.reason, path=path
        )

    def told(self, webhook: Callback) -> bool:
        """Act on an accepted webhook, and tell the neighbours; False if it is a repetition."""
        if not self._act_on(webhook, counts=True):
            return False
        if isinstance(webhook, ToldWebhook):
            self.neighbours.tell(webhook)
        return True

    def overhear(self, webhook: ToldWebhook) -> None:
        """Act on a webhook that a neighbour has accepted."""
        self._act_on(webhook, counts=False)

    def overhear_nonce(self, nonce: str, *, used: bool) -> None:
        """Take note that a neighbour's stream was opened with a signature, or was lost."""
        if self.signatures is not None:
            (self.signatures.use if used else self.signatures.release)(nonce)

    def _act_on(self, webhook: Callback, *, counts: bool) -> bool:
        if isinstance(webhook, StreamStatusRequest):
            if not self.statuses.take(webhook, counts=counts):
                return False
            self._report(webhook)
        elif isinstance(webhook, HangupRequest):
            self.admission.cancel(webhook.call_id)
            self.answered.end(webhook.call_id)
            self.prepared.abandon(webhook.call_id)
            self.lost_streams.end(webhook.call_id)
        for listener in tuple(self.listeners):
            listener(webhook)
        return True

    def _report(self, status: StreamStatusRequest) -> None:
        """Pass a status callback to its stream's handler, now or when the stream starts."""
        for call in self.calls:
            started = call.session.started
            if started is not None and started.start.stream_id == status.stream_id:
                call.report(status)
                return
        self.statuses.keep(status)

    def handler_failed(self, error: Exception, **ids: str) -> None:
        """Count and log a handler that raised an exception."""
        self.counters.handler_errors += 1
        log.error("handler failed", exc_info=error, **ids)

    def leave(self, call: RunningCall) -> None:
        """Remove a call whose connection and handler have both ended."""
        if call not in self.calls:
            return
        self.calls.discard(call)
        if call.accepted.nonce is not None:
            self.neighbours.used(call.accepted.nonce)
        if not self.calls:
            self.without_calls.set()
        self.sweep.discard(call)
        if call.session.started is not None:
            self.pacer.discard(call.session.started.playout)
        label = self._labels.of(call.accepted.route.name)
        self._ended_totals.setdefault(label, StreamCounters()).add(call.session.counters)
        call.accepted.slot.release()
        if self.fleet is not None:
            self.fleet.left(call)

    def merge(self, call: RunningCall) -> None:
        """Remove a call that only continued another one's stream."""
        self.calls.discard(call)
        self.sweep.discard(call)
        self.counters.calls_total -= 1
        call.accepted.slot.release()
        if self.captured is not None:
            self.captured.merged(call)

    @property
    def ended_totals(self) -> StreamCounters:
        """The sum of the counters of all streams that have ended."""
        return _sum(self._ended_totals.values())

    def stream_totals(self) -> StreamCounters:
        """Return the sum of the counters of all streams, ended and live."""
        return _sum(self.totals_by_handler().values())

    def totals_by_handler(self) -> dict[str, StreamCounters]:
        """Return the same for each handler, by its label."""
        totals = {label: _sum([ended]) for label, ended in self._ended_totals.items()}
        for call in self.calls:
            label = self._labels.of(call.accepted.route.name)
            totals.setdefault(label, StreamCounters()).add(call.session.counters)
        return totals

    def live_by_handler(self) -> dict[str, int]:
        """Return the number of live calls of each handler, by its label."""
        live = Counter(self._labels.of(call.accepted.route.name) for call in self.calls)
        return {label: live[label] for label in self._labels.known}

    def close_calls(self, code: int, reason: str) -> None:
        """Start closing every live call."""
        for call in tuple(self.calls):
            call.close(code, reason)


def _sum(counters: Iterable[StreamCounters]) -> StreamCounters:
    totals = StreamCounters()
    for each in counters:
        totals.add(each)
    return totals
