"""Passes the page's requests on to the admin listener of the agent's server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse


_PASSED: Final = ("content-type", "allow", "cache-control")
"""The headers of an answer that the page gets."""


class AwayResponse(JSONResponse):
    """The answer where the other server does not run.

    Args:
        why: says why, or what to do.

    """

    def __init__(self, why: str) -> None:
        body = {"error": "the agent's server does not run", "hint": why}
        super().__init__(body, 503, headers={"cache-control": "no-store"})


class PassedOn:
    """An endpoint whose answers are those of another server, at the same path.

    Args:
        client: reaches that server.
        why_away: says why it is not there; empty if that is not known.

    """

    def __init__(self, client: httpx.AsyncClient, why_away: Callable[[], str]) -> None:
        self._client = client
        self._why_away = why_away

    async def endpoint(self, request: Request) -> Response:
        """Answer a request as the other server does, piece by piece as it comes."""
        # As it was written: an id may contain a slash.
        path = request.scope["raw_path"] + b"?" + request.scope["query_string"]
        url = httpx.URL(raw_path=path.removesuffix(b"?"))
        asked = self._client.build_request(
            request.method,
            url,
            content=await request.body(),
            headers={
                name: value
                for name in ("content-type", "accept")
                if (value := request.headers.get(name)) is not None
            },
            # The lines of a trace come for as long as the call lasts.
            timeout=httpx.Timeout(10.0, read=None),
        )
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.TransportError:
            return AwayResponse(self._why_away() or "ask again in a second")
        headers = {
            name: value for name in _PASSED if (value := answer.headers.get(name)) is not None
        }
        return StreamingResponse(_pieces(answer), answer.status_code, headers)


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_bytes():
            yield piece
    except httpx.TransportError:
        # The server has been started again: what it had to tell is over.
        return
    finally:
        await answer.aclose()
