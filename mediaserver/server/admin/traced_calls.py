"""The calls of one process that somebody follows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import Final

from mediaserver.call import StreamReport, Turn
from mediaserver.server.admin.call_trace import CallTrace
from mediaserver.server.admin.commands import CallCommand, Delivery, TracedLines
from mediaserver.server.observers import ObservedCall
from mediaserver.server.runtime import RunningCall, Runtime


MOST_TRACED: Final = 8
"""Calls of a process that can be followed at once."""

LEASE: Final = 10.0
"""Seconds without a reader after which a call is not followed any more."""

_LEFT: Final = 5.0
"""Seconds without a reader after which a call makes room for another one; a reader that takes
nothing asks every four."""

_WAIT: Final = 0.5
"""Seconds for which an answer waits for a line. Other processes must answer within a second."""

_MOST: Final = 65_536
"""Characters of the lines in one answer."""

MAY_NOT_LISTEN_IN: Final = Delivery(
    "refused",
    "this server lets nobody listen to calls",
    "start it with --admin-listen-in, or look at the call without audio",
)


class _Followed:
    """A trace, by the name that its readers give."""

    def __init__(self, trace: CallTrace, now: float) -> None:
        self.trace = trace
        self.asked_at = now
        self.listened_at = -inf
        self.changed = asyncio.Event()
        trace.changed.append(self.changed.set)


class TracedCalls:
    """Follows calls for as long as somebody asks for their lines.

    With the setting ``admin_follow_all`` it is a `CallObserver`, and follows each call that starts.

    Args:
        runtime: the state of the process.

    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._followed: dict[str, _Followed] = {}
        self._looking: asyncio.TimerHandle | None = None
        if runtime.settings.admin_follow_all:
            runtime.observers.add(self)

    def knows(self, name: str) -> bool:
        """Tell whether a call is followed by this name, even if it has ended."""
        return name in self._followed

    def has_ended(self, name: str) -> bool:
        """Tell whether the stream that is followed by this name has ended."""
        return self._followed[name].trace.ended

    def forget(self, name: str) -> None:
        """Follow by this name no more."""
        self._let_go(name)
        self._unfollow()

    async def read(self, command: CallCommand, call: RunningCall | None) -> Delivery:
        """Return lines of a call, as soon as there are some.

        Args:
            command: asks for them.
            call: the call; None if it is followed already.

        """
        if command.audio and not self._runtime.settings.admin_listen_in:
            return MAY_NOT_LISTEN_IN
        followed = self._followed.get(command.call)
        if followed is None:
            assert call is not None
            if not self._has_room():
                return Delivery(
                    "too_many",
                    f"{MOST_TRACED} calls of this process are followed already",
                    "stop following one of them",
                )
            followed = self._follow(command.call, call)
        trace = followed.trace
        after, began_again = command.after, command.after > trace.next
        if after < 0:
            after = trace.next
        elif began_again:
            after = 0
        followed.asked_at = self._runtime.clock()
        if command.audio:
            followed.listened_at = followed.asked_at
            trace.audio = True
        if trace.next <= after and not trace.ended:
            followed.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT):
                    await followed.changed.wait()
        lines, missed, following = trace.take(after, _MOST, audio=command.audio)
        ended = trace.ended and following >= trace.next
        missed = -1 if began_again else missed
        process = self._runtime.process
        return Delivery("done", traced=TracedLines(lines, following, process, missed, ended))

    # CallObserver

    def call_started(self, call: ObservedCall) -> None:
        """Follow a call from its start, if not too many are followed already."""
        assert call.stream is not None
        if self._has_room():
            name = call.call_id
            if name == "?" or name in self._followed:
                # The last lines of the call's stream before are still read by its id.
                name = call.stream.stream_id
            followed = self._follow(name, call)
            if self._runtime.settings.admin_listen_in:
                followed.listened_at = followed.asked_at
                followed.trace.audio = True

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """Its turns are told to those that follow it."""

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """Keep its last lines for whoever reads them."""

    def _follow(self, name: str, call: ObservedCall) -> _Followed:
        runtime, session = self._runtime, call.session
        traces = (each for each in session.followers if isinstance(each, CallTrace))
        trace = next(traces, None)
        if trace is None:
            assert call.started_at is not None
            trace = CallTrace(
                session,
                clock=runtime.clock,
                began=call.started_at,
                personal_data=runtime.settings.admin_personal_data,
                lag=runtime.counters.lag_peaks.since,
            )
            session.follow(trace)
        followed = self._followed[name] = _Followed(trace, runtime.clock())
        if self._looking is None:
            self._look_later()
        return followed

    def _has_room(self) -> bool:
        """Tell whether one more call can be followed, perhaps in place of one that nobody reads."""
        if len(self._followed) < MOST_TRACED:
            return True
        name, oldest = min(self._followed.items(), key=lambda each: each[1].asked_at)
        if self._runtime.clock() - oldest.asked_at <= _LEFT:
            return False
        self.forget(name)
        return True

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LEASE, self._look)

    def _look(self) -> None:
        """Let go of the calls for whose lines nobody asks."""
        self._looking = None
        now = self._runtime.clock()
        for name, followed in list(self._followed.items()):
            if now - followed.asked_at >= LEASE:
                self._let_go(name)
        self._unfollow()
        listened = {
            followed.trace
            for followed in self._followed.values()
            if now - followed.listened_at < LEASE
        }
        for followed in self._followed.values():
            followed.trace.audio = followed.trace in listened
        if self._followed:
            self._look_later()

    def _let_go(self, name: str) -> None:
        followed = self._followed.pop(name)
        followed.trace.changed.remove(followed.changed.set)

    def _unfollow(self) -> None:
        """Take away the traces that have no reader any more."""
        still = {followed.trace for followed in self._followed.values()}
        for call in self._runtime.calls:
            for follower in call.session.followers:
                if isinstance(follower, CallTrace) and follower not in still:
                    call.session.unfollow(follower)
