"""Tells callers that all lines are busy, at the cost of reading their requests.

While a process is overloaded, new calls get this instead of a stream: no signature is checked, and
no token, handler or place is made. A request that is no new call takes its usual way, such as a
hang-up that Plivo sends to ``/answer``.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mediaserver.server.answer import busy
from mediaserver.server.process.overload import Overload
from mediaserver.server.process.tcp_info import seconds_since_data
from mediaserver.server.runtime import Runtime


_PATHS: Final = (b"/answer", b"/fallback")
_NEW_CALL: Final = b"Event=StartApp"


class TurningAway:
    """Answers requests for new calls in place of the application.

    Args:
        runtime: The server.
        overload: Tells which calls are turned away.

    """

    def __init__(self, runtime: Runtime, overload: Overload) -> None:
        self._counters = runtime.counters
        self._overload = overload
        document = busy(runtime.settings).xml
        self._response = (
            b"content-type: application/xml\r\ncache-control: no-store\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(document), document)
        )

    def applies_to(self, url: bytes, transport: asyncio.BaseTransport) -> bool:
        """Tell whether a request is turned away if it is one for a new call (see `is_new_call`).

        Args:
            url: Its target.
            transport: The connection from which it was read just now.

        """
        if url.partition(b"?")[0] not in _PATHS:
            return False
        return self._overload.turns_away(seconds_since_data(transport.get_extra_info("socket")))

    def is_new_call(self, url: bytes, body: bytes) -> bool:
        """Tell whether a request is the first one of a call."""
        return _NEW_CALL in body or _NEW_CALL in url

    def respond(self, headers: bytes) -> bytes:
        """Count a call that is turned away, and return the response.

        Args:
            headers: Lines for its head.

        """
        self._counters.webhooks["busy"] += 1
        self._counters.refuse("overload")
        return b"HTTP/1.1 200 OK\r\n" + headers + self._response
