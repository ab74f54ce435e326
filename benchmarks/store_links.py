"""The way from a node of a benchmark to its Redis, which can be cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from benchmarks.namespaces import Namespace
from benchmarks.redis_server import RedisServer


class StoreLink(Protocol):
    """The way from a node to Redis."""

    url: str
    """Where the node finds Redis."""

    def cut(self) -> None:
        """Lose what is sent, in both directions, without a word to either side."""

    def mend(self) -> None:
        """Let Redis be reached again."""


class DeviceLink:
    """A pair of network devices, one of which is in the node's namespace."""

    def __init__(self, redis: RedisServer, namespace: Namespace) -> None:
        self.url = redis.url(namespace.store_address)
        self.cut = namespace.cut
        self.mend = namespace.mend


class RelayLink:
    """A relay on loopback, where there are no namespaces: while it is cut, it passes nothing on."""

    def __init__(self, redis: RedisServer) -> None:
        self.url = ""
        self._redis = redis
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for the duration of the block."""
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        try:
            yield
        finally:
            server.close()
            for relay in self._relays:
                relay.cancel()
            await asyncio.gather(*self._relays, return_exceptions=True)

    def cut(self) -> None:
        """Pass nothing on, and say nothing."""
        self._passes.clear()

    def mend(self) -> None:
        """Pass on what comes from now on; connections from before are lost."""
        for writer in tuple(self._writers):
            writer.transport.abort()
        self._passes.set()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers.add(writer)
        try:
            await self._passes.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._redis.port)
            ends.add(far_writer)
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, far_writer))
                pumps.create_task(self._pump(far_reader, writer))
        except* (OSError, EOFError):
            pass
        finally:
            self._writers -= ends
            for each in ends:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._passes.wait()
            if writer.is_closing():
                break
            writer.write(data)
        raise EOFError
