"""Says why no handler took a call: which path was asked for, and which there are."""

from __future__ import annotations

import httpx
import msgspec

from mediaserver.path_patterns import path_pattern
from mediaserver.plivo.numbers import phone_key
from mediaserver.server.admin.commands import RouteEntry


class _Worker(msgspec.Struct):
    routes: list[RouteEntry] = []


class _Workers(msgspec.Struct):
    workers: list[_Worker] = []


async def why_unserved(admin: httpx.AsyncClient, called: str, path: str) -> str:
    """Return why no handler takes a call; empty if one does, or if that cannot be known.

    Args:
        admin: reaches the admin listener of the agent's server.
        called: the number that was dialled.
        path: the path of the stream that was asked for; empty if the number tells it.

    """
    try:
        answer = await admin.get("/workers")
        found = msgspec.json.decode(answer.content, type=_Workers)
    except (httpx.HTTPError, msgspec.DecodeError):
        return ""
    routes = [route for worker in found.workers for route in worker.routes]
    if not routes or any(_takes(route, called, path) for route in routes):
        return ""
    asked = f"the path {path}" if path else f"the number {called}"
    if path and any(_is_at(route, path) for route in routes):
        asked += f" with the number {called}"
    return f"no handler takes {asked}; there is {', '.join(map(_named, routes))}"


def _takes(route: RouteEntry, called: str, path: str) -> bool:
    is_own = route.number is None or phone_key(route.number) == phone_key(called)
    return is_own and _is_at(route, path)


def _is_at(route: RouteEntry, path: str) -> bool:
    pattern = path_pattern(route.path)
    return pattern.match(path) is not None if path else not pattern.has_parameters


def _named(route: RouteEntry) -> str:
    return f"{route.path} for {route.number}" if route.number else route.path
