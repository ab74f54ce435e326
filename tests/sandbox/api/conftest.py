"""A client of the API of a platform in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx
import pytest
from httpx import AsyncClient

from mediaserver.sandbox.account import RateLimiter
from mediaserver.sandbox.api.app import create_api
from tests.sandbox.conftest import OnPlatform


AUTH = ("MASANDBOXSANDBOXSAND", "a token for tests")
CALL = {"from": "+14155550100", "to": "+14155550123"}
PHONES = "http://sandbox.example/v1/sandbox/Call/"

OnApi: TypeAlias = Callable[..., Any]
"""Runs a scenario with a platform and a client of its API, and returns what it returns."""
Ask: TypeAlias = Callable[..., httpx.Response]
"""Sends one request of a method to a path of the API, and returns the response."""


@pytest.fixture
def on_api(on_platform: OnPlatform) -> OnApi:
    def run(
        scenario: Callable[[Any, AsyncClient], Awaitable[Any]],
        *,
        limiter: RateLimiter | None = None,
        **options: Any,
    ) -> Any:
        async def main(platform: Any) -> Any:
            app = create_api(platform.exchange, limiter)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url=f"http://sandbox.example/v1/Account/{AUTH[0]}/",
                auth=AUTH,
            ) as api:
                return await scenario(platform, api)

        return on_platform(main, **options)

    return run


@pytest.fixture
def ask(on_api: OnApi) -> Ask:
    def request(method: str, path: str, **more: Any) -> httpx.Response:
        async def scenario(_: Any, api: AsyncClient) -> httpx.Response:
            return await api.request(method, path, **more)

        response: httpx.Response = on_api(scenario)
        return response

    return request


async def call_in_progress(platform: Any, api: AsyncClient, *elements: str) -> str:
    """Make a call that somebody has answered."""
    url = platform.document("/answer", *(elements or ('<Wait length="60"/>',)))
    made = (await api.post("Call/", json=CALL | {"answer_url": url})).json()
    await platform.exchange.calls[made["request_uuid"]].answered.wait()
    uuid: str = made["request_uuid"]
    return uuid


def refusal(response: httpx.Response, status: int) -> str:
    """Return what a refusal says, having checked its shape."""
    body = response.json()
    assert (response.status_code, set(body)) == (status, {"api_id", "error"})
    error: str = body["error"]
    return error
