"""What ``/answer`` learned about calls, and which calls have ended.

The token in the stream URL has the numbers and the direction of a call. The rest of the answer
request is kept here for as long as the token is valid, which keeps stream URLs short and personal
data out of their logs. If several processes share a number, another process may get the stream than
got the webhook; its handler knows only what is in the token.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.server.trust.tokens import Claims


_KEPT_CALLS: Final = 10_000
"""Number of answered calls, and of ended calls, that are remembered."""
_ENDED_SECONDS: Final = 3_600.0
"""Seconds for which the end of a call is remembered."""


class AnsweredCalls:
    """The calls whose webhooks one process got.

    Args:
        seconds: Seconds for which the request of a call is kept.
        clock: Monotonic seconds.

    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests: TTLCache[str, AnswerRequest] = TTLCache(_KEPT_CALLS, seconds, timer=clock)
        self._ended: TTLCache[str, None] = TTLCache(_KEPT_CALLS, _ENDED_SECONDS, timer=clock)

    def add(self, request: AnswerRequest) -> None:
        """Remember the request of a call that gets a stream."""
        self._requests[request.call_id] = request

    def end(self, call_id: str) -> None:
        """Remember that a call has ended."""
        self._requests.pop(call_id, None)
        self._ended[call_id] = None

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
