"""One accepted stream: its session, its handler's task, its deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import structlog
from websockets.frames import CloseCode

from audiocodecs import AudioFormat
from mediaserver.call import Session, Started, StreamReport, StreamStatus, Turn
from mediaserver.call.turn import STAGES
from mediaserver.containment import (
    Containment,
    already_told,
    leaves,
    only_ended,
    tell_of_failures,
)
from mediaserver.error_lines import error_lines
from mediaserver.plivo import callbacks
from mediaserver.protocol import Start
from mediaserver.server.ended_calls import cause_of_end
from mediaserver.server.handshake import AcceptedStream
from mediaserver.server.runtime import CallState, Runtime
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.calls")

LONGEST_ID = 100
"""Characters of an id in the log; Plivo's have 36."""

CLOSE_TIMEOUT = 5.0
"""Seconds within which a peer must answer a close frame."""

_FAILED = "the handler failed"

_MOST_RAISED = 5
"""Exceptions of a group that followers are told."""

_LONGEST_WORDS = 2_000
"""Characters of what they say."""

_NO_PLACE = "all nodes together have reached their limit of calls:"

_DROPPED_SECONDS = 0.1
"""Seconds of audio that a handler may leave unheard when it returns, without a warning."""

_ROUND_TRIPS = 3
"""Pings whose shortest round trip counts. A single one may have waited for a busy process."""

_SPEECH_LEVEL = 200.0
"""Root mean square above which a frame counts as speech: about -44 dBFS."""


def close_reason(reason: str) -> str:
    """Cut a reason to what fits a close frame: 123 bytes (RFC 6455, section 5.5)."""
    return reason.encode()[:123].decode(errors="ignore")


class Link(Protocol):
    """The WebSocket of a call."""

    def send_text(self, message: bytes) -> None:
        """Send a text message."""

    def send_ping(self, payload: bytes) -> None:
        """Send a ping."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake. Repeating it does nothing."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def pause_reading(self) -> None:
        """Stop reading for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def hand_over(self, call: ServerCall) -> None:
        """Carry the messages of another call from now on."""

    def let_go(self) -> None:
        """Drop the connection at once, and tell the call nothing more."""


class ServerCall:
    """A call, from the accepted handshake to the end of its handler.

    It is the `Shell` of its session. Its `link` carries the WebSocket: it passes messages to the
    session, sets `heard_from` whenever bytes arrive, and calls `ponged`, `block`, `unblock`,
    `closing`, `stuffed` and `lost`.
    """

    __slots__ = (
        "__weakref__",
        "_answers_pings",
        "_away_for",
        "_away_since",
        "_blocked_for",
        "_close_for",
        "_close_reason",
        "_error",
        "_handler",
        "_keys",
        "_link",
        "_lost",
        "_lost_reason",
        "_next_ping",
        "_owed_for",
        "_pinged",
        "_quiet_since",
        "_reading",
        "_round_trips",
        "_runtime",
        "_silent_for",
        "_started",
        "_suspected",
        "_unanswered_for",
        "_unheard_for",
        "_unstarted_for",
        "_waited_for",
        "accepted",
        "counts",
        "heard_from",
        "session",
        "stream",
    )

    def __init__(self, runtime: Runtime, link: Link, accepted: AcceptedStream) -> None:
        self._runtime = runtime
        self._link = link
        self.accepted = accepted
        # Its call has a place in the fleet since `/answer`; without that, once its handler begins.
        self.counts = accepted.call_id is not None
        self.session = Session(runtime.clock, self, runtime.call_settings)
        self.stream: Stream | None = None
        self._handler: asyncio.Task[None] | None = None

        # Set by the link whenever bytes arrive, cleared by check().
        self.heard_from = False
        # Whether the connection is gone.
        self._lost = False
        # Why it went; and if the stream may be opened again, since when, and for how many seconds
        # while the loop was running, it has been waited for.
        self._lost_reason = ""
        self._away_since = 0.0
        self._away_for = -1.0
        # Whether the connection has been silent for so long that a new one may take its place, and
        # when, at the earliest, it was last heard from.
        self._suspected = False
        self._quiet_since = 0.0
        # False while reading is paused because the handler is too slow.
        self._reading = True
        self._started = 0.0
        # What the handler raised, if it failed.
        self._error: Exception | None = None
        # Why the stream is closed, if the handler, or call control, closes it.
        self._close_reason = "closed by the handler"
        self._pinged = 0.0
        self._next_ping = 0.0
        # Seconds that the latest answers to pings took.
        self._round_trips: tuple[float, ...] = ()
        # Plivo may not answer pings, so only a peer that has answered one owes answers.
        self._answers_pings = False
        # Seconds, while the loop was running, for which: no start came; nothing at all came; the
        # peer has owed an answer to a checkpoint; an answer to a ping; the socket took nothing; the
        # peer has owed its close frame; the handler has outlived its call; both sides were silent.
        self._unstarted_for = 0.0
        self._silent_for = 0.0
        self._owed_for = 0.0
        self._unanswered_for = -1.0
        self._blocked_for = -1.0
        self._close_for = -1.0
        self._waited_for = 0.0
        self._unheard_for = 0.0
        # Number of keys pressed at the last check of silence.
        self._keys = 0

        runtime.enter(self)

    def __repr__(self) -> str:
        return f"<ServerCall {self.call_id} {self.accepted.route.name}>"

    @property
    def call_id(self) -> str:
        """Plivo's CallUUID; a question mark if it is not known yet."""
        started = self.session.started
        return started.start.call_id if started is not None else self.accepted.call_id or "?"

    @property
    def state(self) -> CallState:
        """What the call is doing."""
        if self.session.ended:
            return "ending"
        if self.stream is None:
            return "starting"
        return "lost" if self._lost else "live"

    @property
    def started_at(self) -> float | None:
        """When the stream started, on the runtime's clock; None if it has not."""
        return self._started if self.stream is not None else None

    # Shell: called by the session.

    def send(self, message: bytes) -> None:
        """Send a text message."""
        for follower in self.session.followers:
            follower.sent(message)
        self._link.send_text(message)

    def started(self) -> None:
        """Run the handler."""
        runtime, accepted, session = self._runtime, self.accepted, self.session
        self._started = runtime.clock()
        if runtime.answered.has_ended(self.call_id):
            self.fail(
                CloseCode.POLICY_VIOLATION, "the call is over: Plivo reported its end to /hangup"
            )
            return
        assert session.started is not None
        lost = runtime.lost_streams.find(accepted, session)
        if lost is not None:
            assert isinstance(lost, ServerCall)
            self._link.hand_over(lost)
            # Where the link goes on with what it has read already.
            self.session = lost.session
            runtime.merge(self)
            session.close("it continues a lost stream")
            lost.take_up(self._link, accepted, session.started.start)
            return
        if accepted.repeats_signature:
            self.fail(CloseCode.POLICY_VIOLATION, "a stream was opened with this signature before")
            return
        if accepted.exceeds_limit:
            self.fail(CloseCode.TRY_AGAIN_LATER, "this server has reached its limit of calls")
            return
        playout = session.started.playout
        playout.need_ticks = partial(runtime.pacer.add, playout)
        playout.blocked = self._blocked_for >= 0
        self.stream = Stream(
            session,
            close=self._close_by_handler,
            control=runtime.call_control,
            path=accepted.path,
            path_params=accepted.path_params,
            query=accepted.query,
            caller=accepted.caller,
            called=accepted.called,
            answer=accepted.answer,
            shared=runtime.routes.shared(accepted.route),
            previous=runtime.lost_streams.previous(self.call_id),
        )
        self._ping(self._started)
        self._handler = asyncio.get_running_loop().create_task(
            self._run(self.stream), name=f"call {self.call_id} {accepted.route.name}"
        )
        log.info("call started", format=str(self.stream.format), **self._ids())
        runtime.observers.call_started(self)
        for status in runtime.statuses.kept(self.stream.stream_id):
            self.report(status)

    def fail(self, code: int, reason: str) -> None:
        """Log the reason and close the connection."""
        log.warning("call closed", reason=reason, **self._ids())
        self._begin_close(code, reason)

    def pause_reading(self) -> None:
        """Stop reading for now."""
        self._reading = False
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading = True
        self._link.resume_reading()

    def notice(self, text: str, /, **details: str | int) -> None:
        """Log something unusual."""
        log.warning(text, **details, **self._ids())
        self.session.decided(text, **details)

    def reported(self, turn: Turn) -> None:
        """Log the figures of a turn, but none of its words, and tell the observers."""
        figures = {stage: getattr(turn, stage) for stage in STAGES} | asdict(turn.usage)
        log.info(
            "turn",
            number=turn.number,
            interrupted=turn.interrupted,
            failed=turn.error is not None,
            **{name: round(figure, 3) for name, figure in figures.items() if figure},
            **self._ids(),
        )
        self._runtime.observers.turn_reported(self, turn)

    def report(self, status: callbacks.StreamStatusRequest) -> None:
        """Pass a status callback to the handler."""
        self.session.report(
            StreamStatus(
                kind=status.kind,
                name=status.name,
                error=status.error,
                reason=status.reason,
                duration=status.duration,
            )
        )

    # Called by the link.

    def ponged(self, payload: bytes) -> None:
        """Measure the round trip by the answer to a ping.

        The shortest of the latest few counts. Until as many were measured, the next ping follows at
        the next check.
        """
        started = self.session.started
        if len(payload) == 8 and started is not None:
            (sent,) = struct.unpack("!d", payload)
            self._answers_pings = True
            self._unanswered_for = -1.0
            if sent == self._pinged:
                now = self._runtime.clock()
                self._round_trips = (now - sent, *self._round_trips[: _ROUND_TRIPS - 1])
                started.playout.round_trip = min(self._round_trips)
                if len(self._round_trips) < _ROUND_TRIPS:
                    self._next_ping = now

    def block(self) -> None:
        """Stop sending: the socket takes no more data."""
        self._blocked_for = 0.0
        if self.session.started is not None:
            self.session.started.playout.blocked = True

    def unblock(self) -> None:
        """Send again: the socket takes data again."""
        self._blocked_for = -1.0
        if self.session.started is not None:
            self.session.started.playout.unblock()

    def closing(self, reason: str) -> None:
        """End the stream: the link is closing, for a reason on the peer's side."""
        self.session.close(reason)
        if self._close_for < 0:
            self._close_for = 0.0

    def stuffed(self, unread: str) -> None:
        """Drop the peer: it has left too much unread, such as answers to its own pings."""
        self._drop(f"the peer left {unread} unread")

    def lost(self, reason: str) -> None:
        """End the stream, or wait for it to be opened again: the connection is lost.

        It is waited for if nothing ended the stream before; a link that was closed by its peer
        calls `closing` first.
        """
        self.look_again()
        self._lost = True
        self._lost_reason = reason
        self._close_for = -1.0
        running = self._handler is not None and not self._handler.done()
        if running and not self.session.ended and self._runtime.settings.reconnect_seconds:
            self._wait_for_stream()
            return
        self._wait_no_longer()
        self.session.close(reason)
        if not running:
            self._leave()

    async def finished(self) -> None:
        """Wait until the handler has returned. Cancelling this does not cancel the handler."""
        if self._handler is not None:
            await asyncio.wait([self._handler])

    # Losing the stream, and taking it up again.

    def _wait_for_stream(self) -> None:
        runtime = self._runtime
        self._away_for = 0.0
        if self._suspected:
            self._away_since = self._quiet_since
            self.session.suspend(since=self._quiet_since)
        else:
            self._away_since = runtime.clock()
            self.session.suspend()
        self._expect()
        self._suspected = False
        if self.accepted.nonce is not None:
            runtime.neighbours.released(self.accepted.nonce)
        runtime.counters.streams_lost += 1
        log.warning(
            "stream lost",
            reason=self._lost_reason,
            waits_seconds=runtime.settings.reconnect_seconds,
            **self._ids(),
        )

    def _suspect(self) -> None:
        """Let a new connection take the place of this one, which is silent.

        A NAT or a proxy may have dropped it without a word, so that only the carrier knows.
        """
        self._suspected = True
        self._expect()

    def look_again(self) -> None:
        """Keep the connection, if it was heard from again."""
        if self._suspected and self.heard_from:
            self._wait_no_longer()

    def _expect(self) -> None:
        runtime, nonce = self._runtime, self.accepted.nonce
        if runtime.signatures is not None and nonce is not None:
            # Plivo may repeat its request with the same signature.
            runtime.signatures.release(nonce)
        runtime.lost_streams.add(self)

    def _wait_no_longer(self) -> None:
        if self._away_for < 0 and not self._suspected:
            return
        runtime, nonce = self._runtime, self.accepted.nonce
        if nonce is not None and self._away_for >= 0:
            runtime.neighbours.used(nonce)
        self._away_for = -1.0
        self._suspected = False
        runtime.lost_streams.discard(self)
        if runtime.signatures is not None and nonce is not None:
            runtime.signatures.use(nonce)

    def take_up(self, link: Link, accepted: AcceptedStream, start: Start) -> None:
        """Continue on another connection."""
        runtime, stream = self._runtime, self.stream
        assert stream is not None, "a stream that is waited for has started"
        if not self._lost:
            self._link.let_go()
            self._lost_reason = "the connection fell silent, and the stream was opened again"
            self._wait_for_stream()
        self._wait_no_longer()
        now = runtime.clock()
        seconds = now - self._away_since
        self._lost = False
        self._link = link
        self.accepted = replace(self.accepted, nonce=accepted.nonce, client=accepted.client)
        self.heard_from = True
        self._answers_pings = False
        self._round_trips = ()
        self._silent_for = self._owed_for = 0.0
        self._unanswered_for = self._blocked_for = -1.0
        if not self._reading:
            link.pause_reading()
        stream.stream_id = start.stream_id
        runtime.counters.streams_reopened += 1
        log.info("stream reopened", seconds=round(seconds, 3), **self._ids())
        self._ping(now)
        self.session.reopen(start, seconds)
        for status in runtime.statuses.kept(stream.stream_id):
            self.report(status)

    def give_up(self, reason: str) -> None:
        """End the stream that was lost: it does not come back."""
        self._wait_no_longer()
        self.session.close(reason)

    def break_off(self) -> StreamReport | None:
        """End the stream if it lives, because Plivo has gone on without it.

        Returns:
            What is known of it if its connection was lost; None if it ended otherwise.

        """
        if not self.session.ended:
            if self._lost:
                self.give_up(self._lost_reason)
            else:
                self._drop("the connection was lost, and Plivo went on without it")
        if self.stream is None or cause_of_end(self.session.end_reason) != "lost":
            return None
        return self._report(self.stream, self._runtime.clock() - self._started)

    # Ending.

    def close(self, code: int, reason: str) -> None:
        """End the stream from this side."""
        self._begin_close(code, reason)

    @contextlib.contextmanager
    def closed_because(self, reason: str) -> Iterator[None]:
        """Give this as the reason if the stream is closed within the block by its `Stream`."""
        former, self._close_reason = self._close_reason, reason
        try:
            yield
        finally:
            self._close_reason = former

    def _close_by_handler(self) -> None:
        self._begin_close(CloseCode.NORMAL_CLOSURE, self._close_reason)

    def _begin_close(self, code: int, reason: str) -> None:
        self.session.close(reason)
        self._wait_no_longer()
        if self._lost:
            return
        if self._close_for < 0:
            self._close_for = 0.0
        self._link.close(code, reason)

    async def _run(self, stream: Stream) -> None:
        code, reason = CloseCode.NORMAL_CLOSURE, "the handler returned"
        tell_of_failures(self._failed_below, stream)
        try:
            with Containment():
                accepted = self.accepted
                if (limit := await self._limit_reached()) is None:
                    await self._runtime.prepared.take(accepted.call_id, accepted.route)(stream)
                else:
                    code, reason = CloseCode.TRY_AGAIN_LATER, f"{_NO_PLACE} {limit}"
                    log.warning("call closed", reason=reason, **self._ids())
            self._warn_of_dropped_audio(stream)
        except asyncio.CancelledError:
            code, reason = CloseCode.GOING_AWAY, "the handler was cancelled"
        except Exception as error:
            if not only_ended(error, ended=stream.ended):
                code, reason = CloseCode.INTERNAL_ERROR, _FAILED
                self._error = error
                if not already_told(error):
                    self._tell_of(error)
        self._begin_close(code, reason)
        if self._lost:
            self._leave()

    async def _limit_reached(self) -> str | None:
        """Take a place in the fleet for a stream without a token; return the limit, if reached."""
        runtime, route = self._runtime, self.accepted.route
        fleet = runtime.fleet
        if fleet is None or self.counts:
            return None
        limit = runtime.route_limits.of(route)
        try:
            reached = await fleet.claim(self.call_id, route.label, limit)
            self.counts = reached is None
        finally:
            fleet.settle(self.call_id)
        if reached is None:
            return None
        return f"{runtime.settings.max_calls_account if reached == 'account' else limit}"

    def _warn_of_dropped_audio(self, stream: Stream) -> None:
        if not stream.ended and stream.unheard > _DROPPED_SECONDS:
            log.warning(
                "the handler returned before its audio was heard, and the rest is dropped",
                seconds=round(stream.unheard, 1),
                hint="await playback.heard() before returning",
                **self._ids(),
            )

    def _failed_below(self, error: Exception) -> None:
        """End the call, because a task or a callback of its handler's has failed."""
        if self in self._runtime.calls:
            self._error = error
        self._tell_of(error)
        self._begin_close(CloseCode.INTERNAL_ERROR, _FAILED)

    def _tell_of(self, error: Exception) -> None:
        """Count, log and tell what the handler has raised."""
        self._runtime.handler_failed(error, **self._ids())
        if self.session.followers:
            raised = list(islice(leaves(error), _MOST_RAISED))
            # What it says may quote the caller.
            words = "\n".join(line for each in raised for line in error_lines(each))
            kinds = ", ".join(type(each).__name__ for each in raised)
            self.session.decided("handler failed", failure=kinds, words=words[:_LONGEST_WORDS])

    def _leave(self) -> None:
        stream, runtime, session = self.stream, self._runtime, self.session
        if self not in runtime.calls:
            return
        seconds = runtime.clock() - self._started if stream is not None else 0.0
        log.info("call ended", reason=session.end_reason, seconds=round(seconds, 1), **self._ids())
        runtime.counters.ended.count(self.accepted.route.name, session.end_reason, seconds)
        if runtime.observers:
            report = None if stream is None else self._report(stream, seconds)
            runtime.observers.call_ended(self, report)
        if stream is not None and (works := stream.detach()):
            runtime.after_calls.start(works, self._report(stream, seconds), self._ids())
        if stream is not None and runtime.settings.resume_calls:
            previous = runtime.lost_streams.previous(self.call_id)
            if cause_of_end(session.end_reason) != "lost":
                runtime.lost_streams.forget(self.call_id)
            elif previous is None or previous.stream_id != stream.stream_id:
                runtime.lost_streams.remember(self._report(stream, seconds))
        if session.started is not None:
            session.started.inbox.abandon()
        runtime.leave(self)
        # What is left of the call refers to nothing that refers back, so that it is freed at once.
        session.detach()
        self._handler = self._error = None
        del self._link

    def _report(self, stream: Stream, seconds: float) -> StreamReport:
        return StreamReport(
            call_id=stream.call_id,
            stream_id=stream.stream_id,
            caller=stream.caller,
            called=stream.called,
            path=stream.path,
            started_at=datetime.fromtimestamp(self._runtime.wall_clock() - seconds, UTC),
            seconds=seconds,
            end_reason=stream.end_reason,
            error=self._error,
            turns=stream.turns,
            recording=stream.recording,
            transcript=stream.transcript,
            counters=stream.counters,
            data=stream.data,
        )

    # Swept: deadlines.

    def check(self, now: float, elapsed: float) -> None:
        """Act on what is overdue."""
        settings = self._runtime.settings
        session = self.session
        if self._close_for >= 0:
            self._close_for += elapsed
            if self._close_for > CLOSE_TIMEOUT:
                self._link.abort()
        if session.ended:
            self._check_ended(elapsed, settings.grace)
            return
        if self._away_for >= 0:
            self._away_for += elapsed
            if self._away_for > settings.reconnect_seconds:
                self.give_up(self._lost_reason)
                if self.stream is not None:
                    seconds = self._away_since - self._started
                    self._runtime.lost_streams.remember(self._report(self.stream, seconds))
            return
        started = session.started
        if started is None:
            self._unstarted_for += elapsed
            if self._unstarted_for > settings.start_timeout:
                reason = f"no start event within {settings.start_timeout:g} s"
                if session.malformed:
                    reason += f", but malformed messages: {session.malformed}"
                self.fail(CloseCode.POLICY_VIOLATION, reason)
            return
        self._check_heard(started, now, elapsed)
        if self._is_dead(started, elapsed, settings.dead_peer_timeout):
            return
        if now >= self._next_ping:
            self._ping(now)
        if settings.max_call_seconds and now - self._started > settings.max_call_seconds:
            self.fail(
                CloseCode.NORMAL_CLOSURE,
                f"the call was longer than {settings.max_call_seconds:g} s",
            )
        elif settings.max_silence_seconds:
            self._check_silence(started, elapsed, settings.max_silence_seconds)

    def _check_heard(self, started: Started, now: float, elapsed: float) -> None:
        if self.heard_from or not self._reading:
            if self._suspected:
                self._wait_no_longer()
            self.heard_from = False
            self._silent_for = 0.0
            return
        if not self._silent_for:
            # The last bytes came at any time of the period before this one.
            self._quiet_since = now - 2 * elapsed
            started.playout.keep_more()
        elif not self._suspected and self._runtime.settings.reconnect_seconds:
            # In a second Plivo sends 50 messages, one every 20 ms. Two checks, because after a
            # stall of the loop one may come before what has arrived is read.
            self._suspect()
        self._silent_for += elapsed

    def _is_dead(self, started: Started, elapsed: float, timeout: float) -> bool:
        # A debt of the peer grows only while we read, since the answer may be waiting unread.
        overdue = started.playout.overdue()
        if overdue and self._reading:
            self._owed_for += elapsed
        else:
            self._owed_for = 0.0
        if self._blocked_for >= 0:
            self._blocked_for += elapsed
        if self._unanswered_for >= 0 and self._reading:
            self._unanswered_for += elapsed
        if self._silent_for > timeout:
            reason = f"nothing came for {timeout:g} s"
        elif self._blocked_for > timeout:
            reason = f"the peer read nothing for {timeout:g} s"
        elif self._unanswered_for > timeout and self._answers_pings:
            reason = f"a ping was not answered for {timeout:g} s"
        elif self._owed_for > timeout and overdue > timeout:
            reason = f"a checkpoint is {timeout:g} s overdue"
        else:
            return False
        self._drop(reason)
        return True

    def _drop(self, reason: str) -> None:
        if self.session.ended:
            return
        self._runtime.counters.dead_peers += 1
        log.warning("dead peer", reason=reason, **self._ids())
        self.session.close(reason)
        self._link.abort()

    def _check_silence(self, started: Started, elapsed: float, longest: float) -> None:
        # Checking one frame now and then is enough to notice minutes of silence.
        session = self.session
        newest = session.last_payload, session.last_outbound
        session.last_payload = session.last_outbound = b""
        keys, self._keys = self._keys, session.counters.keys_in
        if keys != self._keys or any(_is_speech(payload, started.format) for payload in newest):
            self._unheard_for = 0.0
            return
        if started.playout.unheard:
            # Whoever listens is not silent, but has not answered either.
            return
        self._unheard_for += elapsed
        if self._unheard_for > longest:
            self.fail(CloseCode.NORMAL_CLOSURE, f"the caller was silent for {longest:g} s")

    def _check_ended(self, elapsed: float, grace: float) -> None:
        handler = self._handler
        if handler is None:
            # The stream was stopped before its start, so there is no handler that would close it.
            self._begin_close(CloseCode.NORMAL_CLOSURE, self.session.end_reason)
            return
        if handler.done():
            return
        self._waited_for += elapsed
        if self._waited_for > grace:
            self._waited_for = 0.0
            log.warning("handler outlived its call and is cancelled", grace=grace, **self._ids())
            handler.cancel()

    def _ping(self, now: float) -> None:
        self._pinged = now
        self._unanswered_for = max(0.0, self._unanswered_for)
        self._next_ping = now + self._runtime.settings.ping_interval
        self._link.send_ping(struct.pack("!d", now))

    def _ids(self) -> dict[str, str]:
        started = self.session.started
        ids = {"call": self.call_id[:LONGEST_ID], "handler": self.accepted.route.name}
        if started is not None:
            ids["stream"] = started.start.stream_id[:LONGEST_ID]
        return ids


def _is_speech(payload: bytes, format: AudioFormat) -> bool:
    if not payload:
        return False
    samples = format.decode(payload).astype(np.float32)
    # A product of vectors, because np.mean takes ten times as long on so few samples.
    return bool(samples @ samples > len(samples) * _SPEECH_LEVEL**2)
