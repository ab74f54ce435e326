"""What the nodes of a benchmark say of their fleet, beside what the callers know."""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from audiocodecs import MULAW_8K
from benchmarks.control import operator
from benchmarks.errors import BenchmarkError
from benchmarks.rolling_calls import Callers
from benchmarks.servers.marked_echo import LIMITED
from mediaserver.plivo.signatures import sign_upgrade
from mediaserver.protocol import Start, encode_event


SETTLED_SECONDS = 1.5
"""Seconds within which a call that begins or ends may be known to one side alone."""
_START = "{mediaserver}:"
_LOOK_SECONDS = 0.1


class Watched(NamedTuple):
    """A node, and where it is asked and called."""

    name: str
    admin: Path
    address: str
    port: int


class FleetWatch:
    """Compares what nodes and Redis say with what callers know.

    Args:
        callers: All calls.
        redis: The URL of Redis, from here.

    """

    def __init__(self, callers: Callers, redis: str) -> None:
        self._callers = callers
        self._redis: Redis = Redis.from_url(redis, socket_timeout=2.0, socket_connect_timeout=2.0)
        self._direct: dict[str, ClientConnection] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self.hang_up_direct()
        await self._redis.aclose()

    async def ask(self, node: Watched, method: str, path: str) -> tuple[int, Any, float]:
        """Return the status, the body, and the milliseconds of a request to an admin listener."""
        async with operator(node.admin) as asked:
            return await asked.ask(method, path)

    async def nodes_of(self, node: Watched) -> set[str]:
        """Return the names of the nodes that a node knows to live."""
        _, body, _ = await self.ask(node, "GET", "/nodes")
        return {each["node"] for each in body["nodes"]}

    async def listed(self, node: Watched, state: str) -> list[str]:
        """Return the ids of all calls in a state that a node lists, as often as it lists them."""
        found: list[str] = []
        after = ""
        while True:
            _, body, _ = await self.ask(node, "GET", f"/calls?limit=200&state={state}{after}")
            found += [each["call_id"] for each in body["calls"]]
            if body["next"] is None:
                return found
            after = f"&after={body['next']}"

    async def disagreement(self, node: Watched) -> int:
        """Return how many calls a node lists, or Redis has places for, that are wrong.

        Those count that are missing, that nobody has, and that are there twice.
        """
        begun = time.monotonic()
        known = await self._redis.hkeys(f"{_START}calls")
        taken = [_text(each) for each in known]
        listed = await self.listed(node, "live")
        settled = begun - SETTLED_SECONDS
        live, ended = self._callers.live, self._callers.ended
        must = {*self._direct, *(each.call_id for each in live if each.live_at < settled)}
        may = {*self._direct, *(each.call_id for each in live)}
        may.update(each.call_id for each in ended if (each.over_at or 0.0) > settled)
        wrong = 0
        # A place is taken before the stream comes, when only the call's task knows it.
        for found, allowed in ((listed, may), (taken, may | self._callers.begun)):
            wrong += len(found) - len(set(found))
            wrong += len(must - set(found)) + len(set(found) - allowed)
        return wrong

    async def metric(self, node: Watched, name: str) -> float:
        """Return the sum of a metric of a node."""
        reader, writer = await asyncio.open_unix_connection(node.admin)
        try:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = (await reader.read()).decode()
        finally:
            writer.close()
        lines = [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def places(self, route: str = "") -> int:
        """Return how many places Redis has given away: of the account, or of a route."""
        if not route:
            return int(await self._redis.hlen(f"{_START}calls"))
        return int(await self._redis.scard(f"{_START}route:{route}"))

    async def members_with_calls(self) -> set[str]:
        """Return the names of the nodes whose calls have places."""
        owners = await self._redis.hvals(f"{_START}calls")
        return {_text(each).partition("/")[0] for each in owners}

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], limit: float) -> float:
        """Wait until something holds, and return how many seconds it took.

        Raises:
            BenchmarkError: It does not within `limit` seconds.

        """
        begun = time.monotonic()
        while True:
            with contextlib.suppress(RedisError, OSError):
                if await holds():
                    return time.monotonic() - begun
            if time.monotonic() - begun > limit:
                raise BenchmarkError(f"not within {limit:g} s: {what}")
            await asyncio.sleep(_LOOK_SECONDS)

    # Streams that come without /answer

    async def open_direct(self, node: Watched, number: int) -> int:
        """Open streams of the limited path at a node, and return how many it lets in."""
        known = len(self._direct)
        for _ in range(number):
            await self._open(node, str(uuid4()))
        return len(self._direct) - known

    async def _open(self, node: Watched, call: str) -> None:
        public = urlsplit(self._callers.url)
        signed = urlunsplit(("wss", public.netloc, LIMITED, "", ""))
        headers = sign_upgrade(signed, self._callers.token)
        try:
            websocket = await connect(
                f"ws://{node.address}:{node.port}{LIMITED}",
                additional_headers=headers,
                proxy=None,
                open_timeout=20,
            )
        except InvalidStatus:
            return
        start = Start(call, call, "MABENCHMARK000000000", ("inbound",), MULAW_8K, sequence_number=1)
        await websocket.send(encode_event(start))
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            # A stream that finds no place is closed before its handler begins.
            async with asyncio.timeout(1.0):
                await websocket.recv()
        if websocket.close_code is None:
            self._direct[call] = websocket

    async def hang_up_direct(self) -> None:
        """End these streams."""
        for websocket in self._direct.values():
            await websocket.close()
        self._direct.clear()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
