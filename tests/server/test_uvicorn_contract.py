"""What is relied on in uvicorn and not documented there. pyproject.toml pins its version."""

import asyncio
import functools
import inspect
import signal
from typing import Any

import uvicorn
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server, ServerState


class Recorder(asyncio.Protocol):
    """A WebSocket protocol class."""


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> Any:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("not called")


def config(**more: Any) -> Config:
    loaded = uvicorn.Config(app, lifespan="off", log_config=None, workers=1, **more)
    loaded.load()
    return loaded


async def test_a_partial_is_taken_as_websocket_class() -> None:
    made = functools.partial(Recorder)
    http = HttpToolsProtocol(config(ws=made), ServerState(), {})
    assert http.ws_protocol_class is made


async def test_a_connection_is_in_the_servers_state_from_its_beginning() -> None:
    state = ServerState()
    http = HttpToolsProtocol(config(), state, {})
    http.connection_made(Transport())
    assert state.connections == {http}


async def test_a_later_request_waits_in_the_pipeline_as_the_newest_on_its_left() -> None:
    http = HttpToolsProtocol(config(), ServerState(), {})
    http.connection_made(Transport())
    http.data_received(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(3)))
    assert [cycle.scope["path"] for cycle, _ in http.pipeline] == ["/2", "/1"]
    tasks = set(http.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_partial_is_taken_as_http_class() -> None:
    loaded = config(http=functools.partial(HttpToolsProtocol))
    protocol_class: Any = loaded.http_protocol_class
    made = protocol_class(config=loaded, server_state=ServerState(), app_state={})
    assert isinstance(made, HttpToolsProtocol)


def test_the_http_class_has_the_parts_that_are_built_upon() -> None:
    for name in (
        "_unset_keepalive_if_required",
        "on_body",
        "on_header",
        "on_headers_complete",
        "on_message_begin",
        "on_message_complete",
        "on_response_complete",
        "on_url",
        "shutdown",
    ):
        assert callable(getattr(HttpToolsProtocol, name)), name


async def test_the_http_class_has_the_attributes_that_are_read() -> None:
    http = HttpToolsProtocol(config(), ServerState(), {})
    for name in (
        "app_state",
        "connections",
        "cycle",
        "flow",
        "headers",
        "loop",
        "parser",
        "pipeline",
        "server_state",
        "tasks",
        "transport",
        "ws_protocol_class",
    ):
        assert hasattr(http, name), name


def test_signals_go_to_handle_exit_and_are_raised_again_only_if_it_keeps_them() -> None:
    class Deaf(Server):
        taken = 0

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.taken += 1

    server = Deaf(config())
    with server.capture_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert server.taken == 2


def test_the_server_has_the_parts_that_are_overridden() -> None:
    for name, parameters in {
        "startup": ["self", "sockets"],
        "shutdown": ["self", "sockets"],
        "on_tick": ["self", "counter"],
        "handle_exit": ["self", "sig", "frame"],
        "serve": ["self", "sockets"],
    }.items():
        assert list(inspect.signature(getattr(Server, name)).parameters) == parameters


async def test_on_tick_keeps_the_date_header_and_tells_whether_to_exit() -> None:
    server = Server(config(server_header=False))
    assert not await server.on_tick(0)
    assert [name for name, _ in server.server_state.default_headers] == [b"date"]
    server.should_exit = True
    assert await server.on_tick(1)


def test_a_context_factory_gives_the_tls_context() -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    loaded = config(ssl_context_factory=lambda config, default: context)
    assert loaded.ssl is context
    assert loaded.is_ssl
