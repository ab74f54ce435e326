"""Sends the page what it is refused as an answer that is no error to its browser.

A browser writes each answer with a status from 400 on to its console, as an error of the page. A
call that is over, or one more call than can be followed, is no error of the page, which tells it to
its user.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send


ASKS: Final = b"x-quiet-refusals"
"""The header of requests that want this, with any value."""

REFUSED: Final = b"x-refused"
"""The header of the answer that has the status which it would have had."""


class QuietRefusals:
    """Middleware that answers 200 in place of a refusal, where a request asks for it.

    Args:
        app: what refuses.

    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def quietly(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = (REFUSED, str(message["status"]).encode())
                message = {**message, "status": 200, "headers": [*message["headers"], refused]}
            await send(message)

        asks = scope["type"] == "http" and ASKS.decode() in Headers(scope=scope)
        await self._app(scope, receive, quietly if asks else send)
