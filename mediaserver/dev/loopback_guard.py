"""Lets only this machine's programs, and the page itself, ask the development server.

It listens on loopback, but every web page that is open in a browser can send requests there. The
browser says which page a request comes from (``Origin``), and under which name it found the server
(``Host``: https://en.wikipedia.org/wiki/DNS_rebinding).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mediaserver.server.trust.other_pages import is_of_another_page


_NAMES: Final = ("127.0.0.1", "localhost")


class LoopbackGuard:
    """Middleware that refuses what comes from other pages, or by another name.

    Args:
        app: what is guarded.
        port: the port that it listens on.

    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        # Browsers leave out the port that is HTTP's own.
        ends = (f":{port}", "") if port == 80 else (f":{port}",)
        self._hosts = frozenset(f"{name}{end}" for name in _NAMES for end in ends)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        wrong = self._wrong(Headers(scope=scope))
        if wrong is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": wrong["error"]})
        else:
            await JSONResponse(wrong, 403)(scope, receive, send)

    def _wrong(self, headers: Headers) -> Mapping[str, str] | None:
        """Return what is wrong with a request, or None."""
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return {
                "error": f"the Host header is {host[:100]!r}",
                "hint": f"use one of {', '.join(sorted(self._hosts))} in the URL",
            }
        if is_of_another_page(headers, self._origins):
            named = headers.get("origin", "another site")[:100]
            return {
                "error": f"the page of {named} is not let in",
                "hint": f"open http://{host}/, which mediaserver dev serves",
            }
        return None
