"""Serves the page that shows calls, and tells it what there is to show."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

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
    past: bool = False
    """Whether calls that have ended can be looked at, at /past."""


def page_routes(facts: Callable[[], PageFacts], *, websockets: bool = False) -> list[BaseRoute]:
    """Return the routes of the page.

    Args:
        facts: says what the page can show.
        websockets: whether the page opens a WebSocket to its own host.

    """

    async def tell(request: Request) -> Response:
        return json_response(msgspec.to_builtins(facts()))

    return [Route(PAGE_FACTS, tell), Mount("/", _PageFiles(websockets))]


class _PageFiles(StaticFiles):
    def __init__(self, websockets: bool) -> None:
        super().__init__(directory=PAGES, html=True, check_dir=False)
        self._websockets = websockets

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        # The package has a module beside the files.
        if path.endswith((".py", ".pyc")) or "__pycache__" in path:
            return "", None
        return super().lookup_path(path)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        # Nothing is fetched from elsewhere, and no other page can show this one.
        # Not every browser takes 'self' for a WebSocket of the same host.
        own = f" ws://{Headers(scope=scope).get('host', '')}" if self._websockets else ""
        response.headers["content-security-policy"] = (
            f"default-src 'self'; connect-src 'self'{own}; img-src 'self' data: blob:;"
            " media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["cache-control"] = "no-cache"
        response.headers["cross-origin-resource-policy"] = "same-origin"
        response.headers["referrer-policy"] = "no-referrer"
        response.headers["x-content-type-options"] = "nosniff"
        return response
