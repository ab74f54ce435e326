"""Serves the page that shows calls, and tells it what there is to show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mediaserver.pages import PAGES
from mediaserver.server.admin.access import PAGE_FACTS
from mediaserver.server.admin.responses import json_response


class PageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the page can show."""

    mode: Literal["dev", "view"]
    """``dev``: of one developer, with a phone; ``view``: of a server's operators."""
    title: str
    phone: bool = False
    """Whether there is a phone, at /phone."""
    audio: bool = False
    """Whether calls can be followed with their audio."""
    paths: tuple[str, ...] = ()
    """Of the streams that the phone can be joined to; empty if the dialled number tells."""
    words: bool = False
    """Whether words, keys and whole numbers are shown."""
    past: bool = False
    """Whether calls that have ended can be looked at, at /past."""
    records: bool = False
    """Whether calls that have ended can be searched by what was wrong with them."""
    token: bool = False
    """Whether there is nothing without a token, which the request did not have."""


def page_routes(
    facts: Callable[[Request], PageFacts], *, websockets: bool = False
) -> list[BaseRoute]:
    """Return the routes of the page.

    Args:
        facts: says what the page can show to whoever sends a request.
        websockets: whether the page opens a WebSocket to its own host.

    """

    async def tell(request: Request) -> Response:
        return json_response(msgspec.to_builtins(facts(request)))

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        kind = _KINDS.get(name.rpartition(".")[2])
        if kind is None:
            raise HTTPException(404)
        try:
            content = await asyncio.to_thread((PAGES / name).read_bytes)
        except (OSError, ValueError):  # It has a NUL.
            raise HTTPException(404) from None
        # Not every browser takes 'self' for a WebSocket of the same host.
        own = f" ws://{request.headers.get('host', '')}" if websockets else ""
        return Response(
            content, headers={**_HEADERS, "content-security-policy": _POLICY % own}, media_type=kind
        )

    return [Route(PAGE_FACTS, tell), Route("/", file), Route("/{name}", file)]


_KINDS: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}
"""The files that there are, by how their names end. They are in one folder."""

# Nothing is fetched from elsewhere, and no other page can show this one.
_POLICY: Final = (
    "default-src 'self'; connect-src 'self'%s; img-src 'self' data: blob:;"
    " media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "cache-control": "no-cache",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
