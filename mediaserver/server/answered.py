"""What ``/answer`` learned about calls, and which of them are over.

The stream's token says who calls, in which direction. The rest of what Plivo tells is kept here,
for as long as the token is good, so that stream URLs stay short and their logs poor. Where several
processes share a number, the one that gets the stream may not be the one that got the webhook: its
handler knows what is in the token, and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.server.trust.tokens import Claims


_KEPT_CALLS: Final = 10_000
"""How many calls are remembered, of either kind."""
_ENDED_SECONDS: Final = 3_600.0
"""How long a call is known to be over."""


class AnsweredCalls:
    """The calls that one process was told about.

    Args:
        seconds: How long the details of a call are kept.
        clock: Monotonic seconds.

    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests: TTLCache[str, AnswerRequest] = TTLCache(_KEPT_CALLS, seconds, timer=clock)
        self._ended: TTLCache[str, None] = TTLCache(_KEPT_CALLS, _ENDED_SECONDS, timer=clock)

    def add(self, request: AnswerRequest) -> None:
        """Remember a call that gets a stream."""
        self._requests[request.call_id] = request

    def end(self, call_id: str) -> None:
        """Remember that a call is over."""
        self._requests.pop(call_id, None)
        self._ended[call_id] = None

    def has_ended(self, call_id: str) -> bool:
        """Tell whether a call is over, and no stream of it can be meant."""
        return call_id in self._ended

    def request(self, claims: Claims) -> AnswerRequest:
        """Return what is known of the call that a token was given out for."""
        known = self._requests.get(claims.call_id)
        return known or AnswerRequest(
            call_id=claims.call_id,
            caller=claims.caller,
            called=claims.called,
            direction=claims.direction,
        )
