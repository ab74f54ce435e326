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

from cachetools import TTLCache

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.server.remembered import Remembered, form_bytes
from mediaserver.server.trust.tokens import Claims


_REQUEST_BYTES: Final = 67_108_864
"""Memory for the requests of calls: some 20,000 of Plivo's, or 70 calls a second for the five
minutes of a token. Beyond it the oldest are forgotten; their handlers know what the token has."""
_ENDED_BYTES: Final = 33_554_432
"""Memory for the ids of ended calls: 100,000 to 200,000 of them, whatever their length."""
_ENDED_SECONDS: Final = 3_600.0
"""Seconds for which the end of a call is remembered."""


class AnsweredCalls:
    """The calls whose webhooks one process got.

    Args:
        seconds: Seconds for which the request of a call is kept.
        clock: Monotonic seconds.

    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests: TTLCache[str, AnswerRequest] = TTLCache(
            _REQUEST_BYTES, seconds, timer=clock, getsizeof=lambda kept: form_bytes(kept.fields)
        )
        self._ended = Remembered(_ENDED_SECONDS, limit=_ENDED_BYTES, clock=clock)

    def add(self, request: AnswerRequest) -> None:
        """Remember the request of a call that gets a stream."""
        with contextlib.suppress(ValueError):  # one that is larger than all the memory
            self._requests[request.call_id] = request

    def end(self, call_id: str) -> None:
        """Remember that a call has ended."""
        self._requests.pop(call_id, None)
        self._ended.add(call_id)

    def has_ended(self, call_id: str) -> bool:
        """Tell whether a call has ended, so that it can have no more streams."""
        return call_id in self._ended

    def request(self, claims: Claims) -> AnswerRequest:
        """Return the answer request of a token's call, or else what the token says of it."""
        known = self._requests.get(claims.call_id)
        return known or AnswerRequest(
            call_id=claims.call_id,
            caller=claims.caller,
            called=claims.called,
            direction=claims.direction,
        )
