"""Servers of streams that a test makes up, which phones of the command line call."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from ssl import SSLContext

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from audiocodecs import MULAW_8K
from mediaserver.protocol import Media, PlayAudio, decode_event, encode_command


@contextlib.contextmanager
def answered(
    handler: Callable[[ServerConnection], Awaitable[None]], ssl: SSLContext | None = None
) -> Iterator[str]:
    """Serve WebSockets by a coroutine function, in a thread, and give the URL."""

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, compression=None, ssl=ssl) as server:
            over = asyncio.Event()
            port = next(iter(server.sockets)).getsockname()[1]
            begun.set_result((asyncio.get_running_loop(), over, port))
            await over.wait()

    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    loop, over, port = begun.result(timeout=60)
    try:
        yield f"{'wss' if ssl else 'ws'}://127.0.0.1:{port}/stream"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(timeout=60)


def interrupted(*arguments: str) -> tuple[int, str, str]:
    """Return the status and the output of a command that gets Ctrl-C while its calls talk."""
    process: subprocess.Popen[str]

    async def interrupting(connection: ServerConnection) -> None:
        spoken = PlayAudio(MULAW_8K.encode(np.full(160, 8_000, np.int16)), MULAW_8K)
        frames = 0
        async for message in connection:
            frames += isinstance(decode_event(message), Media)
            await connection.send(encode_command(spoken).decode())
            if frames == 10:
                process.send_signal(signal.SIGINT)

    with answered(interrupting) as url:
        process = subprocess.Popen(
            (
                sys.executable,
                "-m",
                "mediaserver",
                *(url if each == "URL" else each for each in arguments),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err
