"""A proxy in front of a server, which does to requests what a test tells it."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias


Rewrite: TypeAlias = Callable[[bytes], bytes]
"""Takes the head of a request, with the empty line at its end, and returns another one."""


def untouched(head: bytes) -> bytes:
    return head


def without(*names: str) -> Rewrite:
    """Return what takes away headers."""
    pattern = b"|".join(re.escape(name.encode()) for name in names)

    def rewrite(head: bytes) -> bytes:
        return re.sub(b"(?im)^(%s):.*\r\n" % pattern, b"", head)

    return rewrite


def with_headers(*lines: str) -> Rewrite:
    """Return what adds headers."""
    added = "".join(f"{line}\r\n" for line in lines).encode()
    return lambda head: head[:-2] + added + b"\r\n"


@contextlib.asynccontextmanager
async def proxied(
    port: int,
    rewrite: Rewrite = untouched,
    *,
    listener: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Run a proxy in front of a port of this machine, and give the port that it listens on."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = rewrite(await reader.readuntil(b"\r\n\r\n"))
            # So that each request comes with its own connection.
            head = re.sub(rb"(?im)^connection: keep-alive\r\n", b"Connection: close\r\n", head)
            if b"\r\nconnection:" not in head.lower():
                head = head[:-2] + b"Connection: close\r\n\r\n"
            to_server, from_proxy = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(from_proxy):
                from_proxy.write(head)
                pumps = [
                    asyncio.create_task(_pump(to_server, writer)),
                    asyncio.create_task(_pump(reader, from_proxy)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for each in pumps:
                    each.cancel()
                await asyncio.wait(pumps)

    listener = listener or socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(pass_on, sock=listener, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
