"""The servers that the transport benchmark compares; each is a separate program."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Program:
    """How to start one server.

    Attributes:
        name: its row in the table.
        does: what it does with a frame.
        arguments: arguments of the Python interpreter; host, port and certificate are appended.
        path: path of the WebSocket.
        health: path that answers 200 once it is ready; without one, an open port is enough.
        needs: import packages that the project does not depend on.
        in_order: its replies do not carry the audio they answer.
        interpreter: the Python that runs it.

    """

    name: str
    does: str
    arguments: tuple[str, ...]
    path: str = "/stream"
    health: str | None = None
    needs: tuple[str, ...] = ()
    in_order: bool = False
    interpreter: str = sys.executable

    @property
    def installed(self) -> bool:
        """Whether everything that it needs can be imported."""
        return all(map(find_spec, self.needs))


def _mediaserver(name: str, does: str, handler: str) -> Program:
    serve = ("-m", "mediaserver", "serve", handler)
    limits = ("--max-calls", "1000", "--log-level", "warning")
    return Program(name, does, serve + limits, health="/healthz")


FASTAPI = Program(
    "fastapi",
    "FastAPI, uvicorn and Plivo's SDK, as many write it today",
    ("-m", "benchmarks.servers.fastapi_echo"),
    health="/healthz",
    needs=("fastapi", "plivo", "python_multipart"),
)
"""What the beginning of a call is compared with."""

PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "floor",
            "finds a frame's end, writes ready bytes",
            ("-m", "benchmarks.servers.floor"),
            in_order=True,
        ),
        Program(
            "websockets",
            "sends the message back",
            ("-m", "benchmarks.servers.websockets_echo"),
        ),
        _mediaserver(
            "mediaserver",
            "decodes, handler coroutine, encodes",
            "mediaserver.agents:Echo",
        ),
        _mediaserver(
            "mediaserver-samples",
            "the same, mu-law to samples and back",
            "benchmarks.servers.samples_echo:samples_echo",
        ),
        Program(
            "plivo-stream-sdk",
            "decodes, on_media callback, encodes",
            ("-m", "benchmarks.servers.plivo_sdk_echo"),
            # the first imports the second without declaring it
            needs=("plivo_stream", "plivo"),
        ),
    )
}
