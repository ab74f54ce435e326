"""Records the calls of a process: listens to what becomes of them, and tells their records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mediaserver.call import StreamReport, Turn
from mediaserver.records.call_records import CallRecords
from mediaserver.records.recorded_call import RecordedCall
from mediaserver.server.ended_calls import cause_of_end
from mediaserver.server.observers import ObservedCall
from mediaserver.server.peaks import Peaks


class Lags(Protocol):
    """The counters of a process, as far as they are recorded."""

    lag_peaks: Peaks


class RecordedCalls:
    """A `CallObserver` that records calls.

    Args:
        records: takes what is recorded.
        lags: knows how late the event loop was.
        clock: the calls' clock, in monotonic seconds.
        wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        records: CallRecords,
        lags: Lags,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._lags = lags
        self._clock = clock
        self._wall_clock = wall_clock
        self._live: dict[ObservedCall, RecordedCall] = {}

    def call_started(self, call: ObservedCall) -> None:
        """Record that a stream has begun."""
        record = self._live[call] = self._begin(call)
        record.begin()

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """Record a turn."""
        record = self._live.get(call)
        if record is not None:
            # An application's own turn may have no time.
            ago = self._clock() - turn.at if turn.at else 0.0
            record.turn(turn, self._wall_clock() - ago)

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """Record the end of a call, and what was counted of it."""
        record = self._live.pop(call, None) or self._begin(call)
        session, started_at = call.session, call.started_at
        now = self._clock()
        first = None
        if session.started is not None and started_at is not None:
            first_sent = session.started.playout.first_sent_at
            first = None if first_sent is None else first_sent - started_at
        record.over(
            at=self._wall_clock(),
            seconds=0.0 if started_at is None else now - started_at,
            cause=cause_of_end(session.end_reason),
            reason=session.end_reason,
            error=None if report is None else report.error,
            stream_id=None if report is None else report.stream_id,
            counters=session.counters,
            loop_lag=self._lags.lag_peaks.since(now if started_at is None else started_at),
            first_audio=first,
            recording=None if report is None else report.recording,
            transcript=None if report is None else report.transcript,
        )

    def _begin(self, call: ObservedCall) -> RecordedCall:
        accepted, stream, answer = call.accepted, call.stream, call.accepted.answer
        return self._records.begin(
            call_id=None if call.call_id == "?" else call.call_id,
            stream_id=None if stream is None else stream.stream_id,
            account_id=None if stream is None else stream.account_id,
            direction=None if answer is None else answer.direction,
            caller=accepted.caller,
            called=accepted.called,
            handler=accepted.route.name,
            route=accepted.route.label,
            path=accepted.path,
            format=None if stream is None else str(stream.format),
            tracks=() if stream is None else tuple(stream.tracks),
        )
