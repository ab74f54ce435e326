from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from httpx import AsyncClient, Response

from mediaserver.sandbox.account import RateLimiter
from mediaserver.sandbox.api.app import _routes, create_api
from tests.sandbox.api.conftest import AUTH, Ask, OnApi, call_in_progress, refusal
from tests.sandbox.conftest import OnPlatform


def test_the_routes_are_made_once_for_all_applications(ask: Ask) -> None:
    # Another test of this process may have made them.
    _routes.cache_clear()
    assert [ask("GET", "Call/").status_code for _ in range(2)] == [200, 200]
    assert _routes.cache_info().misses == 1


@pytest.mark.parametrize("auth", [None, ("MASANDBOXSANDBOXSAND", "wrong"), ("MA", AUTH[1])])
def test_wrong_credentials_are_refused(ask: Ask, auth: tuple[str, str] | None) -> None:
    response = ask("GET", "Call/", auth=auth)

    assert "credentials" in refusal(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Basic")


def test_credentials_come_before_the_body(ask: Ask) -> None:
    assert "credentials" in refusal(ask("POST", "Call/", content=b"{", auth=("MA", "wrong")), 401)


def test_another_account_is_refused(ask: Ask) -> None:
    assert "MAXXXXXXXXXXXXXXXXXX" in refusal(
        ask("GET", "http://sandbox.example/v1/Account/MAXXXXXXXXXXXXXXXXXX/Call/"), 401
    )


def test_too_many_requests_have_to_wait(on_api: OnApi) -> None:
    async def scenario(_: Any, api: AsyncClient) -> Any:
        answers = [await api.get("Call/") for _ in range(4)]
        await asyncio.sleep(5)
        return answers, await api.get("Call/")

    answers, later = on_api(scenario, limiter=RateLimiter(3, 5))

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert "3 requests in 5 seconds" in refusal(answers[-1], 429)
    assert answers[-1].headers["Retry-After"] == "5"
    assert later.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "Conference/", 404), ("PUT", "Call/", 405)]
)
def test_what_there_is_not_is_refused_in_the_same_shape(
    ask: Ask, method: str, path: str, status: int
) -> None:
    assert refusal(ask(method, path), status)


@pytest.mark.parametrize("path", ["Conference/", "", "Call/x/y/z/"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_there_is_not_is_told_to_nobody_else(ask: Ask, method: str, path: str) -> None:
    assert "credentials" in refusal(ask(method, path, auth=("MASANDBOXSANDBOXSAND", "wrong")), 401)


def test_openapi_describes_every_path(ask: Ask) -> None:
    described = ask("GET", "http://sandbox.example/openapi.json", auth=None).json()

    account = "/v1/Account/{auth_id}"
    stream = described["paths"][account + "/Call/{call_uuid}/Stream/"]
    assert set(stream) == {"get", "post", "delete"}
    schema = described["components"]["schemas"]["StreamRequest"]
    assert schema["required"] == ["service_url"]
    assert set(described["paths"][account + "/Call/{call_uuid}/"]) == {"get", "post", "delete"}
    assert all(path.endswith(("/", ".wav")) for path in described["paths"])


def test_an_internal_error_has_the_same_shape(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Response:
        async def broken(*_: Any) -> None:
            raise RuntimeError("out of order")

        platform.exchange.services.speak = broken
        transport = httpx.ASGITransport(create_api(platform.exchange), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://h/v1/Account/{AUTH[0]}/", auth=AUTH
        ) as api:
            uuid = await call_in_progress(platform, api)
            return await api.post(f"Call/{uuid}/Speak/", json={"text": "Hello"})

    assert refusal(on_platform(scenario), 500) == "internal error"
