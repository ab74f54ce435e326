"""The Redis that joins several machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from mediaserver.doctor.clock import CLOCK_LIMIT, SET_CLOCK
from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.subject import Subject


_SECONDS: Final = 2.0
_PINGS: Final = 5
_SLOW: Final = 0.05
"""Seconds that the fastest of some requests may take: `/answer` waits for Redis for 0.3 s."""
_VERSION: Final = 7


async def redis_server(subject: Subject) -> Finding:
    """Ask Redis for its version, its memory policy and its clock, and how long that takes."""
    if subject.settings.redis is None:
        return skipped("redis is not set: this server is alone")
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    url = subject.settings.redis.get_secret_value()
    redis: Any = Redis.from_url(
        url,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
    )
    try:
        await redis.ping()
        fastest = float("inf")
        for _ in range(_PINGS):
            began = time.perf_counter()
            await redis.ping()
            fastest = min(fastest, time.perf_counter() - began)
        seconds, microseconds = await redis.time()
        offset = time.time() - (seconds + microseconds / 1e6)
        info = await redis.info()
    except (RedisError, OSError) as error:
        return failed(
            f"Redis does not answer: {type(error).__name__}: {error}",
            "start it, and compare the address and the password in redis with its own; its"
            " firewall must let this machine in",
        )
    finally:
        await redis.aclose()
    return judge_redis(info, fastest, offset)


def judge_redis(info: Mapping[str, Any], fastest: float, offset: float) -> Finding:
    """Judge what a Redis says of itself.

    Args:
        info: Its reply to ``INFO``.
        fastest: Seconds that the fastest of some requests has taken.
        offset: Seconds by which the clock here is ahead of its clock.

    """
    version = str(info.get("redis_version", "0"))
    name = str(info.get("server_name", "redis"))
    if int(version.partition(".")[0] or 0) < _VERSION:
        return failed(f"it is Redis {version}", f"use Redis {_VERSION}.0 or newer, or Valkey")
    if info.get("role", "master") != "master":
        return failed("it is a replica, which takes no writes", "name the primary in redis")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return failed(
            f"its maxmemory-policy is {policy}: it may forget live calls",
            "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in its file",
        )
    if fastest > _SLOW:
        return failed(
            f"a request takes at least {fastest * 1e3:.0f} ms; /answer waits for 300 ms",
            "run Redis nearer to this machine, or on a faster one",
        )
    if abs(offset) > CLOCK_LIMIT:
        way = "ahead of" if offset > 0 else "behind"
        return failed(f"the clock is {abs(offset):.0f} s {way} that of Redis", SET_CLOCK)
    return passed(f"{name} {version} answers in {fastest * 1e3:.1f} ms")
