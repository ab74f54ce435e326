import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from mediaserver import Handler
from mediaserver.agents import Echo
from mediaserver.demo.server import DemoServerError, serving
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import Phone


def test_it_can_be_called() -> None:
    async def call(url: str) -> bool:
        async with Phone(url) as phone:
            return phone.started

    with serving(Routes(Route(Echo, "/echo"))) as url:
        assert url.startswith("ws://127.0.0.1:")
        assert url.endswith("/echo")
        assert asyncio.run(call(url))


def test_nothing_is_left_of_it() -> None:
    before = threading.active_count()
    with serving(Routes(Route(Echo))) as url:
        port = urlsplit(url).port
        assert threading.active_count() > before
    assert threading.active_count() == before
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_is_left_of_it_after_an_exception() -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), serving(Routes(Route(Echo))):
        raise KeyboardInterrupt
    assert threading.active_count() == before


def test_the_environment_does_not_bear_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIASERVER_SSL_CERTFILE", "/nowhere.pem")
    monkeypatch.setenv("MEDIASERVER_PORT", "1")
    with serving(Routes(Route(Echo))) as url:
        assert urlsplit(url).port != 1


def test_a_server_that_does_not_start_is_said() -> None:
    async def load() -> None:
        raise RuntimeError("no model")

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await load()
        yield

    class Broken(Handler):
        pass

    Broken.lifespan = staticmethod(lifespan)
    with pytest.raises(DemoServerError, match="did not start"), serving(Routes(Route(Broken))):
        pass
