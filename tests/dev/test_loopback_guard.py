from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mediaserver.dev.loopback_guard import LoopbackGuard


def guarded(port: int = 8090) -> LoopbackGuard:
    return LoopbackGuard(Starlette(routes=[Route("/", lambda _: PlainTextResponse("in"))]), port)


async def ask(host: str, port: int = 8090, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(guarded(port))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get("/", headers={"host": host, **headers})


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "LOCALHOST:8090"])
async def test_the_names_of_loopback_are_let_in(host: str) -> None:
    assert (await ask(host)).text == "in"
    assert (await ask(host, origin="http://127.0.0.1:8090")).text == "in"


@pytest.mark.parametrize(
    "host", ["rebound.example.com:8090", "127.0.0.1", "127.0.0.1:8091", "192.0.2.7:8090", ""]
)
async def test_another_name_is_refused(host: str) -> None:
    response = await ask(host)
    assert response.status_code == 403
    assert repr(host) in response.json()["error"]
    assert "127.0.0.1:8090" in response.json()["hint"]


@pytest.mark.parametrize(
    "origin", ["https://example.com", "null", "http://localhost:3000", "https://127.0.0.1:8090"]
)
async def test_another_page_is_refused(origin: str) -> None:
    response = await ask("127.0.0.1:8090", origin=origin)
    assert response.status_code == 403
    assert origin in response.json()["error"]


async def test_what_another_page_loads_without_reading_it_is_refused() -> None:
    elsewhere = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}
    assert (await ask("127.0.0.1:8090", 8090, **elsewhere)).status_code == 403
    # Somebody follows a link to the page.
    followed = elsewhere | {"sec-fetch-dest": "document"}
    assert (await ask("127.0.0.1:8090", 8090, **followed)).text == "in"


async def test_browsers_leave_out_the_port_of_http() -> None:
    assert (await ask("localhost", 80, origin="http://localhost")).text == "in"
    assert (await ask("localhost:80", 80)).text == "in"


async def test_a_websocket_of_another_page_is_refused_before_it_is_open() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8090"), (b"origin", b"https://example.com")]
    await guarded()({"type": "websocket", "path": "/phone", "headers": headers}, receive, send)
    assert [each["type"] for each in sent] == ["websocket.close"]
