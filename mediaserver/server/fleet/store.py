"""What a fleet shares, in Redis: who lives, who has which call, which signatures were used.

redis-py by itself tries again with pauses and waits for minutes. Here each request has one
connection, one attempt and a short time, and none begins while the `Breaker` is open.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from mediaserver.server.fleet.breaker import Breaker
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.notes import LostCall, LostMember, Note


log = structlog.get_logger(__name__)

REQUEST_SECONDS: Final = 0.5
"""Seconds within which Redis must answer."""
LOST_SECONDS: Final = 7.0
"""Seconds without a beat, by the clock of Redis, after which a member is lost."""
_KEPT_STREAM_SECONDS: Final = 3_600
"""Seconds for which a stream is kept after its last turn."""
_LOST_CALL_SECONDS: Final = 3_600
"""Seconds for which it is remembered that a call was lost."""
_LISTED_SECONDS: Final = 600
"""Seconds for which it is listed."""
NONCE_SECONDS: Final = 3_600
"""Seconds for which the other members know that a signature was used."""
_CONNECTIONS: Final = 16
"""Connections of one process, besides the one for its mail."""

_T = TypeVar("_T")


class _Script(NamedTuple):
    source: str
    digest: str


def _load(name: str) -> _Script:
    folder = Path(__file__).parent
    source = "\n".join((folder / f"{each}.lua").read_text("utf-8") for each in ("free", name))
    return _Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_SCRIPTS: Final = {name: _load(name) for name in ("beat", "claim", "leave", "release")}


class FleetUnavailableError(Exception):
    """Redis has not answered, or is not asked because it has not answered lately."""


class FleetStore:
    """A fleet's Redis, as one member uses it.

    Args:
        url: As ``redis://``, ``rediss://`` or ``unix://``.
        member: The member's name.
        keys: The names in Redis.
        breaker: Decides whether Redis is asked.
        lost_after: Seconds without a beat after which a member is lost.
        seconds: How long Redis may take to answer.

    """

    def __init__(
        self,
        url: str,
        member: str,
        keys: FleetKeys,
        breaker: Breaker,
        *,
        lost_after: float = LOST_SECONDS,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.member = member
        self.keys = keys
        self.breaker = breaker
        self.failures = 0
        """Requests that were not answered."""
        self._lost_after = lost_after
        self._seconds = seconds
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=seconds,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            retry_on_timeout=False,
            retry_on_error=[],
            health_check_interval=0,
            protocol=2,
            decode_responses=False,
            client_name="mediaserver",
            # Otherwise each connection reads the version of redis-py from its files.
            driver_info=None,
        )
        self._redis: Redis = Redis(connection_pool=pool)

    async def claim(
        self, call: str, note: Note, *, account_limit: int, route_limit: int, seconds: float
    ) -> str:
        """Register a call and take its places.

        Args:
            call: The call.
            note: What is to be known of it.
            account_limit: Calls of the account, on all members; 0 for no limit.
            route_limit: Calls of the route, on all members; 0 for no limit.
            seconds: How long it may take.

        Returns:
            The limit that is reached: ``account``, ``route`` or nothing.

        Raises:
            FleetUnavailableError: Redis has not answered. The call may be registered, or not.

        """
        reached = await self._script(
            "claim", call, str(note), account_limit, route_limit, seconds=seconds
        )
        return str(reached.decode())

    async def release(self, calls: Sequence[str], last: int) -> None:
        """Give the places of calls back, unless they were claimed after the claim `last`."""
        await self._script("release", last, *calls)

    async def leave(self) -> None:
        """Take this member out of the fleet."""
        await self._script("leave")

    async def beat(
        self, about: bytes, calls: Mapping[str, Note], last: int
    ) -> tuple[dict[str, bytes], list[LostMember]]:
        """Say that this member lives, and which calls it has; find the members that do not.

        Args:
            about: What it says of itself.
            calls: All calls that it has.
            last: The number of its last claim. Later ones are not among the calls yet.

        Returns:
            What every member says of itself, and the members that are lost since now.

        Raises:
            FleetUnavailableError: Redis has not answered.

        """
        pairs = [text for call, note in calls.items() for text in (call, str(note))]
        age = round(self._lost_after * 1_000)
        everybody, lost = await self._script(
            "beat", about, last, age, _LOST_CALL_SECONDS, _LISTED_SECONDS, *pairs, trial=True
        )
        return (
            {name.decode(): said for name, said in _pairs(everybody)},
            [
                LostMember(name.decode(), said, [each.decode() for each in calls])
                for name, said, calls in lost
            ],
        )

    async def everybody(self) -> dict[str, bytes]:
        """Return what every member says of itself."""
        everybody: Any = await self._ask(lambda: self._redis.hgetall(self.keys.about), trial=True)
        return {name.decode(): said for name, said in everybody.items()}

    async def owner(self, call: str) -> str | None:
        """Return the member that has a call."""
        return _text(await self._ask(lambda: self._redis.hget(self.keys.calls, call)))

    async def lost_with(self, call: str) -> str | None:
        """Return the member that a call was lost with, within the last hour."""
        return _text(await self._ask(lambda: self._redis.get(self.keys.lost(call))))

    async def lost_calls(self) -> list[LostCall]:
        """Return the calls that were lost within the last ten minutes, the earliest first."""
        found: Any = await self._ask(
            lambda: self._redis.zrange(self.keys.lost_calls, 0, -1, withscores=True)
        )
        return [LostCall(call.decode(), at / 1_000) for call, at in found]

    async def members_lost_with(self, calls: Sequence[str]) -> list[str]:
        """Return the member that each call was lost with; an empty name if that is forgotten."""
        if not calls:
            return []
        keys = [self.keys.lost(call) for call in calls]
        members: Any = await self._ask(lambda: self._redis.mget(keys))
        return [_text(member) or "" for member in members]

    async def keep_streams(self, streams: Mapping[str, bytes]) -> None:
        """Keep what is known of the streams of calls, for an hour, in one trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for call, kept in streams.items():
            pipeline.set(self.keys.stream(call), kept, ex=_KEPT_STREAM_SECONDS)
        await self._ask(pipeline.execute)

    async def kept_stream(self, call: str) -> bytes | None:
        """Return what is kept of the stream of a call."""
        kept = await self._ask(lambda: self._redis.get(self.keys.stream(call)))
        return kept if isinstance(kept, bytes) else None

    async def use_nonce(self, nonce: str) -> bool:
        """Note that a stream was opened with a signature; False if another member has done so."""
        key = self.keys.nonce(nonce)
        user = await self._ask(
            lambda: self._redis.set(key, self.member, nx=True, get=True, ex=NONCE_SECONDS)
        )
        return _text(user) in (None, self.member)

    async def release_nonce(self, nonce: str) -> None:
        """Note that a signature may open a stream again."""
        await self._ask(lambda: self._redis.delete(self.keys.nonce(nonce)))

    async def publish(self, channel: str, message: bytes) -> bool:
        """Send a message to whoever listens to a channel; False if nobody does."""
        return bool(await self._ask(lambda: self._redis.publish(channel, message)))

    def subscription(self) -> PubSub:
        """Return a new subscription, on a connection of its own."""
        return self._redis.pubsub()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _script(
        self,
        name: str,
        *values: str | int | bytes,
        seconds: float | None = None,
        trial: bool = False,
    ) -> Any:
        text = _SCRIPTS[name]
        values = (self.keys.start, self.member, *values)

        async def run() -> Any:
            # The server knows a script by its digest until it restarts.
            try:
                return await self._redis.evalsha(text.digest, 0, *values)
            except NoScriptError:
                return await self._redis.eval(text.source, 0, *values)

        return await self._ask(run, seconds=seconds, trial=trial)

    async def _ask(
        self,
        request: Callable[[], Awaitable[_T]],
        *,
        seconds: float | None = None,
        trial: bool = False,
    ) -> _T:
        if not self.breaker.allows(trial=trial):
            raise FleetUnavailableError("Redis has not answered lately")
        seconds = self._seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                answer = await request()
        except (RedisError, OSError) as error:
            self.failures += 1
            reason = str(error) or f"no answer within {seconds:g} s"
            if self.breaker.failed():
                log.warning(
                    "redis does not answer",
                    reason=reason,
                    hint="calls go on with the limits of this process; Redis is tried again",
                )
            raise FleetUnavailableError(reason) from error
        if self.breaker.succeeded():
            log.info("redis answers again")
        return answer


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else None


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
