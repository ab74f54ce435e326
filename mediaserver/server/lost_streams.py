"""Streams whose connection was lost, and which may be opened again; and what is known of others.

A stream is lost when its connection goes without a closing handshake and without a ``stop``, or
when it is opened again while its connection has been silent for a second: then only Plivo knows
that the connection is gone. Plivo may open a stream again with the same signature or a new one,
with the same stream id or a new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from cachetools import TTLCache

from mediaserver.call import Session, StreamReport
from mediaserver.server.handshake import AcceptedStream


_KEPT_REPORTS: Final = 1_000
"""Number of calls whose last stream is remembered."""
_KEPT_SECONDS: Final = 3_600.0
"""Seconds for which it is remembered."""


class LostStream(Protocol):
    """A call whose stream is lost."""

    accepted: AcceptedStream
    session: Session

    def give_up(self, reason: str) -> None:
        """End the stream: it does not come back."""

    def look_again(self) -> None:
        """Be waited for no longer, if a silent connection was heard from again."""


class LostStreams:
    """The streams of one process that are lost and waited for, and reports of those that ended so.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting: set[LostStream] = set()
        self._reports: TTLCache[str, StreamReport] = TTLCache(
            _KEPT_REPORTS, _KEPT_SECONDS, timer=clock
        )

    def __len__(self) -> int:
        """Return the number of streams that are waited for."""
        return len(self._waiting)

    def add(self, lost: LostStream) -> None:
        """Wait for a stream."""
        self._waiting.add(lost)

    def discard(self, lost: LostStream) -> None:
        """Wait for a stream no longer."""
        self._waiting.discard(lost)

    def look_again(self) -> None:
        """Drop those that were only silent, and were heard from again."""
        for lost in tuple(self._waiting):
            lost.look_again()

    def repeats(self, nonce: str | None) -> bool:
        """Tell whether the signature with this nonce opened a stream that is waited for."""
        return nonce is not None and any(lost.accepted.nonce == nonce for lost in self._waiting)

    def may_be(self, call_id: str | None, path: str) -> bool:
        """Tell whether a request may be for a lost stream, as far as can be known before ``start``.

        Args:
            call_id: the call in its token; None without a token.
            path: the path of its URL.

        """
        return any(
            lost.accepted.call_id == call_id
            and lost.accepted.path == path
            and not lost.session.ended
            for lost in self._waiting
        )

    def find(self, accepted: AcceptedStream, session: Session) -> LostStream | None:
        """Return the lost stream that a new connection continues, or None.

        It has the same call, route, path and audio format, and a token if the lost one had one.
        """
        assert session.started is not None
        self.look_again()
        start = session.started.start
        found: LostStream | None = None
        for lost in self._waiting:
            own = lost.session.started
            if (
                own is not None
                and not lost.session.ended
                and own.start.call_id == start.call_id
                and own.format is session.started.format
                and lost.accepted.call_id in (None, accepted.call_id)
                and lost.accepted.route == accepted.route
                and lost.accepted.path == accepted.path
            ):
                found = lost
                if own.start.stream_id == start.stream_id:
                    break
        return found

    def end(self, call_id: str) -> None:
        """Give up the streams of a call that is over, and forget what is known of it."""
        self.forget(call_id)
        for lost in tuple(self._waiting):
            started = lost.session.started
            if started is not None and started.start.call_id == call_id:
                lost.give_up("the call is over: Plivo reported its end to /hangup")

    def forget(self, call_id: str) -> None:
        """Forget a stream that was lost: a later one of its call has ended as it should."""
        self._reports.pop(call_id, None)

    def remember(self, report: StreamReport) -> None:
        """Keep the report of a stream that was lost and did not come back."""
        self._reports[report.call_id] = report

    def previous(self, call_id: str) -> StreamReport | None:
        """Return the report of the call's earlier stream, if it was lost."""
        return self._reports.get(call_id)
