"""A handler as an ASGI application, to mount into a Starlette or FastAPI app."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from urllib.parse import quote

import structlog
from starlette.types import Message, Receive, Scope, Send
from websockets.frames import CloseCode

from mediaserver.handler import Handler, StreamHandler
from mediaserver.routes import Route, Routes
from mediaserver.server.accepting import examine
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest, Refused
from mediaserver.server.joining import join_fleet
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import CLOSE_TIMEOUT, ServerCall, close_reason
from mediaserver.settings import Settings


log = structlog.get_logger(__name__)

UNSENT_LIMIT = 64
"""Number of unsent messages above which playback is held back."""

SLICE_MESSAGES = 32
"""Messages of one connection that are taken before other tasks have their turn."""

_PRIVATE_CODES = 3_000
"""What is added to a close code that the host refuses: 1011 becomes 4011."""

_UNSENT_MAXIMUM = 4_096
"""Number of unsent messages above which the connection is dropped."""


def asgi(
    handler: StreamHandler | type[Handler] | Routes, *, settings: Settings | None = None
) -> StreamApp:
    """Make an ASGI application that serves Plivo's streams with `handler`.

        app = FastAPI()
        app.mount("/stream", asgi(Echo))

    Streams then connect to ``/stream/``, with a trailing slash, since Starlette does not redirect
    WebSockets. Without a slash: ``WebSocketRoute("/stream", asgi(Echo))``.

    Calls run as under ``mediaserver serve``; TLS, limits and shutdown are the host application's. A
    single handler takes every path below the mount; `Routes` are matched by the rest of the path.

    With the setting ``redis`` it is a node of a fleet: the limits of all nodes hold, and others
    list and control its calls. It has no admin listener itself.

    Args:
        handler: a handler, or routes.
        settings: those for host, port, TLS, the admin listener and shutdown have no effect here.

    """
    if isinstance(handler, Routes):
        return StreamApp(handler, settings or Settings())
    return StreamApp(Routes(Route(handler, "/")), settings or Settings(), any_path=True)


class StreamApp:
    """The ASGI application that `asgi` returns."""

    def __init__(self, routes: Routes, settings: Settings, *, any_path: bool = False) -> None:
        self.runtime = Runtime(settings, routes)
        join_fleet(self.runtime)(OwnCalls(self.runtime, _HostControl(self.runtime)))
        self._any_path = any_path
        self._starting: asyncio.Lock | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self.startup()
            await self._stream(scope, receive, send)
        else:
            await _refuse_http(send)

    async def shutdown(self) -> None:
        """Close live calls, wait for their handlers to end, and close the handlers' lifespans."""
        runtime = self.runtime
        if not runtime.ready:
            return
        runtime.admission.close()
        runtime.close_calls(CloseCode.GOING_AWAY, "the server is shutting down")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(runtime.settings.grace + CLOSE_TIMEOUT + 1):
                await runtime.without_calls.wait()
        await runtime.shutdown()

    async def startup(self) -> None:
        """Open the handlers' lifespans now, not at the first call. Repeating it does nothing.

        Call it from host applications that do not pass their lifespan on to mounted applications;
        Starlette does not.
        """
        if self.runtime.ready:
            return
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if not self.runtime.ready:
                # The host may start again after a shutdown, as it does in tests of its own.
                self.runtime.admission.open()
                await self.runtime.startup()
                try:
                    self.runtime.routes.try_out()
                except Exception:
                    await self.runtime.shutdown()
                    raise

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.startup()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await self.shutdown()
        except Exception as error:
            await send({"type": "lifespan.shutdown.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        root = scope.get("root_path", "")
        below = scope["path"].removeprefix(root) or "/"
        path = "/" if self._any_path else below
        client = scope.get("client")
        decision = examine(
            self.runtime,
            HandshakeRequest(
                path=path,
                query_string=scope["query_string"].decode("latin-1"),
                headers=[
                    (name.decode("latin-1").lower(), value.decode("latin-1"))
                    for name, value in scope["headers"]
                ],
                client_host=client[0] if client else "",
                secure=scope.get("scheme") == "wss",
                raw_path=_raw_path(scope),
                url_path=root + below,
                path_params=scope.get("path_params", {}),
            ),
            verifiers=self.runtime.verifiers,
        )
        if isinstance(decision, Refused):
            self.runtime.refuse(decision, path)
            await _refuse_websocket(scope, send, decision)
        else:
            await AsgiLink(self.runtime, decision, receive, send).run()


class _HostControl:
    """What the other nodes of a fleet can do to an application: it stops when its host stops."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def drain(self) -> bool:
        """Take no new calls; return False if that was asked before."""
        drained, self._runtime.draining = self._runtime.draining, True
        self._runtime.admission.close()
        return not drained

    def reload(self) -> None:
        """Do nothing: only the host itself can ask."""


class AsgiLink:
    """One WebSocket of the host application (a `Link`).

    ASGI sends by awaiting, and a call must not await, so messages go through a queue and a writer
    task. ASGI has no pings; a peer counts as dead when it sends nothing.
    """

    def __init__(
        self, runtime: Runtime, accepted: AcceptedStream, receive: Receive, send: Send
    ) -> None:
        self._runtime = runtime
        self._nonce = accepted.nonce
        self._receive = receive
        self._send = send
        self._unsent: deque[Message] = deque([{"type": "websocket.accept"}])
        self._wake_writer = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._closing = False
        self._blocked = False
        self._is_let_go = False
        self._reader: asyncio.Task[str] | None = None
        self._call = ServerCall(runtime, self, accepted)

    async def run(self) -> None:
        """Carry messages both ways until the WebSocket is closed and the handler has returned.

        A host that cancels this ends the stream. The handler still has its time to finish, and this
        then returns, because Daphne ends the process with the first application that was cancelled.
        """
        writer = asyncio.create_task(self._write())
        self._reader = reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait([reader, writer], return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and writer.exception() is None:
                # The close frame was sent: wait for the peer's answer, or for the call to abort.
                await asyncio.wait([reader])
        except asyncio.CancelledError:
            if not self._is_let_go:
                self._call.closing("the host ended the stream")
        reader.cancel()
        writer.cancel()
        read, written = await asyncio.gather(reader, writer, return_exceptions=True)
        self._closing = True
        if self._nonce is not None and self._runtime.signatures is not None:
            # The acceptance was never sent, so Plivo will retry with the same signature.
            self._runtime.signatures.release(self._nonce)
        if isinstance(written, Exception) and not isinstance(written, OSError):
            log.warning("the host's server cannot send", error=repr(written), **self._ids)
            await self._close_anyhow()
        if self._is_let_go:
            return
        self._call.lost(_why_lost(read, written))
        if self._call.session.ended:
            await self._call.finished()

    async def _read(self) -> str:
        taken = 0
        while True:
            if not self._may_read.is_set():
                await self._may_read.wait()
            message = await self._receive()
            # It may have changed: see `hand_over`.
            call = self._call
            call.heard_from = True
            if message["type"] == "websocket.disconnect":
                code = message.get("code", CloseCode.NO_STATUS_RCVD)
                if code == CloseCode.ABNORMAL_CLOSURE:
                    return "the connection was lost"
                reason = f"Plivo closed the socket ({int(code)})"
                call.closing(reason)
                return reason
            text, binary = message.get("text"), message.get("bytes") or b""
            if not call.session.budget.spend(1, len(text or binary)):
                call.session.overspend()
                # The host's server reads on, but nothing takes its messages any more.
                await asyncio.Event().wait()
            if text is not None:
                call.session.receive(text)
            else:
                call.session.refuse_binary(binary)
            taken += 1
            if taken % SLICE_MESSAGES == 0:
                # Where many messages wait, receiving them lets nobody else run.
                await asyncio.sleep(0)

    async def _write(self) -> None:
        while True:
            self._wake_writer.clear()
            while self._unsent:
                message = self._unsent.popleft()
                if message["type"] == "websocket.close":
                    await self._send_close(message)
                    return
                await self._send(message)
                if message["type"] == "websocket.accept":
                    self._nonce = None
            if self._blocked:
                self._blocked = False
                self._call.unblock()
            await self._wake_writer.wait()

    async def _send_close(self, message: Message) -> None:
        """Close; with a code for private use where the host's server refuses the given one.

        RFC 6455, section 7.4.2. Daphne's, for instance, takes only 1000 and those from 3000 on.
        """
        try:
            await self._send(message)
        except OSError:
            raise
        except Exception as error:
            code = message["code"] + _PRIVATE_CODES
            log.warning(
                "the host's server refuses a close code",
                code=message["code"],
                sent_instead=code,
                error=str(error),
                **self._ids,
            )
            await self._send({**message, "code": code})

    async def _close_anyhow(self) -> None:
        """Close a WebSocket on which sending has failed, if the host's server still can."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._send({"type": "websocket.close", "code": CloseCode.NORMAL_CLOSURE})

    @property
    def _ids(self) -> dict[str, str]:
        return {"call": self._call.call_id, "handler": self._call.accepted.route.name}

    # Link

    def send_text(self, message: bytes) -> None:
        """Queue a text message."""
        if self._closing:
            return
        self._unsent.append({"type": "websocket.send", "text": message.decode()})
        self._wake_writer.set()
        if len(self._unsent) > _UNSENT_MAXIMUM:
            self._call.stuffed(f"{_UNSENT_MAXIMUM} messages")
        elif len(self._unsent) > UNSENT_LIMIT and not self._blocked:
            self._blocked = True
            self._call.block()

    def send_ping(self, payload: bytes) -> None:
        """Do nothing: ASGI has no pings."""

    def close(self, code: int, reason: str) -> None:
        """Close once the queued messages are sent."""
        if not self._closing:
            self._closing = True
            self._unsent.append(
                {"type": "websocket.close", "code": code, "reason": close_reason(reason)}
            )
            self._wake_writer.set()
            self._may_read.set()

    def abort(self) -> None:
        """Return from the application, upon which the host's server drops the connection."""
        self._closing = True
        if self._reader is not None:
            self._reader.cancel()

    def hand_over(self, call: ServerCall) -> None:
        """Carry the messages of another call, whose stream this connection continues."""
        self._call = call

    def let_go(self) -> None:
        """Drop the connection, and tell the call nothing more: it continues on another one."""
        self._is_let_go = True
        self._blocked = False
        self.abort()

    def pause_reading(self) -> None:
        """Stop receiving messages for now."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Receive messages again."""
        self._may_read.set()


def _raw_path(scope: Scope) -> str:
    """Return the whole path, including the mount's, as written in the request."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return quote(scope["path"], safe="/%:@!$&'()*+,;=~")
    return raw.partition(b"?")[0].decode("latin-1")


def _why_lost(read: str | BaseException, written: BaseException | None) -> str:
    """Return why a connection was lost, from the outcomes of reading and writing."""
    if isinstance(read, str):
        return read
    for error in (read, written):
        if isinstance(error, Exception):
            return f"the connection was lost: {error}"
    return "the connection was lost"


async def _refuse_websocket(scope: Scope, send: Send, refused: Refused) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        # The host's server answers 403, whatever the reason.
        await send(
            {
                "type": "websocket.close",
                "code": CloseCode.POLICY_VIOLATION,
                "reason": refused.reason,
            }
        )
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    headers += [(name.encode(), value.encode()) for name, value in refused.headers]
    await send(
        {"type": "websocket.http.response.start", "status": refused.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": f"{refused.reason}\n".encode()})


async def _refuse_http(send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 426,
            "headers": [(b"content-type", b"text/plain"), (b"upgrade", b"websocket")],
        }
    )
    await send({"type": "http.response.body", "body": b"this is a WebSocket for Plivo's streams\n"})
