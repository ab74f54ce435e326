from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from httpx import AsyncClient

from mediaserver.routes import Route
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.runtime import Runtime
from tests.server.admin.live import FakeControl, Talker, client_of, hold


Start = Callable[..., Awaitable[Runtime]]


@pytest.fixture
async def runtime(start_runtime: Start) -> Runtime:
    return await start_runtime(Route(hold), Route(Talker, "/talk"))


@pytest.fixture
def directory(runtime: Runtime) -> OwnCalls:
    runtime.process = "3f9a/1"
    return OwnCalls(runtime, FakeControl())


@pytest.fixture
async def client(directory: OwnCalls) -> AsyncIterator[AsyncClient]:
    async with client_of(directory) as client:
        yield client
