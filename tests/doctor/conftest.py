"""A server in the event loop of a test, and an authority that the test's clients trust."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.process.daemon import Daemon, load_certificates
from mediaserver.server.process.listening import bind
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.server.until import until


StartServer = Callable[..., Awaitable[int]]


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Start servers that echo: ``port = await start_server(**settings)``."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> int:
            settings = Settings(host="127.0.0.1", port=0, **options)
            runtime = Runtime(settings, Routes(Route(Echo)))
            side = SideListeners(settings, [])
            daemon = Daemon(runtime, load_certificates(settings), side=side)
            sockets = bind(settings)
            port: int = sockets[0].getsockname()[1]
            task = asyncio.create_task(daemon.serve(sockets))

            async def stop() -> None:
                for _ in range(3):
                    daemon.stop()
                await task

            stack.push_async_callback(stop)
            await until(lambda: daemon.started)
            return port

        yield start


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Have the clients of this test trust the authority, as the system's are trusted."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return authority
