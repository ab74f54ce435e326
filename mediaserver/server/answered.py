"""What ``/answer`` learned about calls, and which calls have ended.

The token in the stream URL has the numbers and the direction of a call. The rest of the answer
request is kept here for as long as the token is valid, which keeps stream URLs short and personal
data out of their logs. Where the stream cannot be brought to the process that got the webhook, its
handler knows only what is in the token.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
from cachetools import TTLCache

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.server.remembered import Remembered, form_bytes
from mediaserver.server.trust.tokens import Claims


_NEWEST_BYTES: Final = 8_388_608
"""Memory for the requests of calls whose streams are about to come: some 2,500 of Plivo's, or four
seconds of 600 calls a second. Beyond it the oldest are packed."""
_PACKED_BYTES: Final = 201_326_592
"""Memory for packed requests: some 180,000 of Plivo's, or 600 calls a second for the five minutes
of a token, even if nobody reports that they ended. Beyond it the oldest are forgotten; their
handlers know what the token has."""
_PACKED_OVERHEAD: Final = 560
"""Memory of a packed request besides its text: its key, and its places in two caches."""
_ENDED_BYTES: Final = 67_108_864
"""Memory for the ids of ended calls: some 600,000, whatever their length, or 600 calls a second for
a quarter of an hour."""
_LATE_SECONDS: Final = 600.0
"""Seconds for which the end of a call is remembered after its token is no longer valid: a repeated
request of Plivo's comes much sooner."""


class AnsweredCalls:
    """The calls whose webhooks one process got.

    Args:
        seconds: Seconds for which the request of a call is kept.
        clock: Monotonic seconds.

    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._newest = _Newest(seconds, self._pack, clock)
        self._packed: TTLCache[str, bytes] = TTLCache(
            _PACKED_BYTES,
            seconds,
            timer=clock,
            getsizeof=lambda packed: len(packed) + _PACKED_OVERHEAD,
        )
        self._ended = Remembered(seconds + _LATE_SECONDS, limit=_ENDED_BYTES, clock=clock)

    def add(self, request: AnswerRequest) -> None:
        """Remember the request of a call that gets a stream."""
        self._packed.pop(request.call_id, None)
        with contextlib.suppress(ValueError):  # one that is larger than all the memory
            self._newest[request.call_id] = request

    def end(self, call_id: str) -> None:
        """Remember that a call has ended."""
        self._newest.pop(call_id, None)
        self._packed.pop(call_id, None)
        self._ended.add(call_id)

    def has_ended(self, call_id: str) -> bool:
        """Tell whether a call has ended, so that it can have no more streams."""
        return call_id in self._ended

    def request(self, claims: Claims) -> AnswerRequest:
        """Return the answer request of a token's call, or else what the token says of it."""
        known = self._newest.get(claims.call_id)
        if known is not None:
            return known
        packed = self._packed.get(claims.call_id)
        if packed is not None:
            return AnswerRequest.parse(msgspec.msgpack.decode(packed, type=dict[str, str]))
        return AnswerRequest(
            call_id=claims.call_id,
            caller=claims.caller,
            called=claims.called,
            direction=claims.direction,
        )

    def _pack(self, request: AnswerRequest) -> None:
        """Keep a request in a third of the memory, from which it is read again."""
        packed = msgspec.msgpack.encode(dict(request.fields) or request.to_form())
        with contextlib.suppress(ValueError):
            self._packed[request.call_id] = packed


class _Newest(TTLCache[str, AnswerRequest]):
    """The requests that came last; passes on those for which there is no room."""

    def __init__(
        self,
        seconds: float,
        pass_on: Callable[[AnswerRequest], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(
            _NEWEST_BYTES, seconds, timer=clock, getsizeof=lambda kept: form_bytes(kept.fields)
        )
        self._pass_on = pass_on

    def popitem(self) -> tuple[str, AnswerRequest]:
        call_id, request = super().popitem()
        self._pass_on(request)
        return call_id, request
