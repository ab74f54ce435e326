import asyncio
from typing import Any

import pytest

from mediaserver.doctor.findings import Finding
from mediaserver.doctor.redis_server import judge_redis, redis_server
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


INFO = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction"}


def judged(*, fastest: float = 0.001, offset: float = 0.0, **info: Any) -> Finding:
    return judge_redis({**INFO, **info}, fastest, offset)


def test_a_good_redis_passes() -> None:
    assert judged() == ("ok", "redis 7.0.15 answers in 1.0 ms", None)
    assert judged(redis_version="7.2.4", server_name="valkey").detail.startswith("valkey 7.2.4")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"redis_version": "6.2.1"}, "it is Redis 6.2.1"),
        ({"role": "slave"}, "a replica"),
        ({"maxmemory_policy": "allkeys-lru"}, "may forget live calls"),
        ({"fastest": 0.2}, "200 ms"),
        ({"offset": 20.0}, "20 s ahead of"),
        ({"offset": -20.0}, "20 s behind"),
    ],
)
def test_what_is_wrong_is_told(fault: Any, text: str) -> None:
    finding = judged(**fault)
    assert finding.status == "failed"
    assert text in finding.detail
    assert finding.remedy


async def test_without_redis_none_is_asked() -> None:
    assert (await redis_server(Subject(Settings()))).status == "skipped"


def at(url: str) -> Subject:
    options: Any = {"redis": url, "secret": "sixteen characters"}
    return Subject(Settings(**options))


async def test_a_redis_that_is_not_there_is_told() -> None:
    finding = await redis_server(at("redis://127.0.0.1:9/0"))
    assert finding.status == "failed"
    assert "does not answer" in finding.detail


async def test_a_redis_that_answers_is_asked() -> None:
    """Asked by the words of its protocol, so that no server is needed."""
    info = "".join(f"{name}:{value}\r\n" for name, value in INFO.items())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip().upper())
            match words[0]:
                case b"PING":
                    writer.write(b"+PONG\r\n")
                case b"TIME":
                    writer.write(b"*2\r\n$10\r\n1000000000\r\n$1\r\n0\r\n")
                case b"INFO":
                    writer.write(f"${len(info)}\r\n{info}\r\n".encode())
                case _:
                    writer.write(b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        finding = await redis_server(at(f"redis://127.0.0.1:{port}/0"))
    assert finding.status == "failed"
    assert "ahead of that of Redis" in finding.detail
