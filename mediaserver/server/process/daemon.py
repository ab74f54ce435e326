"""The server process, from bind to exit: one listener for webhooks and media.

uvicorn provides HTTP, TLS and signals. On SIGTERM it would close the listener and the connections,
which would cut calls short. `Daemon` drains with the listener open instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import FrameType
from typing import Any, Final, cast

import structlog
import uvicorn
from websockets.frames import CloseCode

from mediaserver.containment import run_contained
from mediaserver.error_lines import error_lines
from mediaserver.handler import HandlerError
from mediaserver.routes import Routes
from mediaserver.server.admin.directory import Directory, OwnCalls
from mediaserver.server.connection import StreamConnection
from mediaserver.server.counters import ServerCounters
from mediaserver.server.joining import join_fleet
from mediaserver.server.process.acceptor import Acceptor
from mediaserver.server.process.announcing import announce_addresses, announce_routes
from mediaserver.server.process.app import create_app
from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.descriptors import (
    SpareDescriptors,
    descriptor_limit,
    is_one_free,
    most_waiting,
    raise_descriptor_limit,
)
from mediaserver.server.process.drain import Drain, Phase
from mediaserver.server.process.http import HttpConnection, HttpLimits, sweep_connections
from mediaserver.server.process.lifespans import (
    AskedToStopError,
    LifespanError,
    LifespanInterruption,
    wait_for_lifespans,
)
from mediaserver.server.process.listening import address_of, bind, web_address_of
from mediaserver.server.process.memory import MemoryReturn, settle_garbage_collection
from mediaserver.server.process.moving import Mover
from mediaserver.server.process.overload import Overload
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.server.process.systemd import Notifier, listening_sockets
from mediaserver.server.process.tls import Certificates
from mediaserver.server.process.turning_away import TurningAway
from mediaserver.server.process.watchdog import Watchdog
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import CLOSE_TIMEOUT
from mediaserver.settings import Settings
from mediaserver.telemetry.logs import configure_logs


log = structlog.get_logger(__name__)

_SPARE_DESCRIPTORS: Final = 8
"""Number of connections that are answered when no other file descriptor is left."""

HTTP_CLOSE_TIMEOUT: Final = 5
"""Seconds within which HTTP connections must finish once the last call has ended."""

_START_BLOCK_WARNING: Final = 5.0
"""Seconds for which code may block the event loop at start before the log says so."""

# uvicorn ticks ten times a second.
_SWEEP_TICKS: Final = 5
_CERTIFICATE_TICKS: Final = 20


class Daemon(uvicorn.Server):
    """A server, from its start to its end.

    The first SIGTERM or SIGINT drains it, the second closes the live calls, and the third stops
    waiting for anything. In each case the exit status is 0.

    Args:
        runtime: The state of the server.
        certificates: The certificates for TLS; None for plain HTTP.
        side: The listeners for operators and metrics, which it serves and closes.
        notifier: Tells systemd about the process.
        counted: Called with the number of connections that are not streams, when it may have
            changed.
        widen: Gives operators more calls than those of this process.

    """

    def __init__(
        self,
        runtime: Runtime,
        certificates: Certificates | None = None,
        *,
        side: SideListeners | None = None,
        notifier: Notifier | None = None,
        counted: Callable[[int], object] = lambda number: None,
        widen: Callable[[Directory], Directory] = lambda own: own,
    ) -> None:
        settings = runtime.settings
        self._connections = HttpConnections(
            most_waiting(settings.max_idle_connections, descriptor_limit()),
            address_limit=settings.max_idle_per_address,
            trusted=settings.trusted_proxies,
            dropped=runtime.counters.connections_dropped,
            counted=counted,
        )
        self._overload = Overload(runtime.counters)
        turning_away = TurningAway(runtime, self._overload)
        super().__init__(uvicorn_config(runtime, self._connections, turning_away, certificates))
        self.exit_status = 0
        """The exit status for the process."""
        self._runtime = runtime
        self._certificates = certificates
        if certificates is not None:
            runtime.counters.certificate_expires = certificates.expires
        self._drain = Drain(
            delay=settings.drain_delay,
            timeout=settings.drain_timeout,
            closing=settings.grace + CLOSE_TIMEOUT + 1,
        )
        self._watchdog = Watchdog(runtime.counters, warn_after=settings.block_warning)
        self._side = side
        self._directory = widen(OwnCalls(runtime, self))
        self._notifier = notifier or Notifier({})
        self._stops = 0
        self._hung_up = False
        self._memory = MemoryReturn()
        # The task that opens or closes the lifespans; whether it went on although it was cancelled.
        self._lifespans: asyncio.Task[None] | None = None
        self._resists = False

    def stop(self) -> None:
        """Do the same as a signal. May be called from any thread."""
        self._stops += 1
        self._runtime.draining = True
        self._notifier.stopping()
        if self._runtime.settings.drain_delay == 0 and self.started:
            # Now rather than at the next tick: a call taken meanwhile would delay the end.
            self._runtime.admission.close()
        if self._stops > 2:
            self.force_exit = True

    def drain(self) -> bool:
        """Do what the first SIGTERM does; return False if the server was asked to stop before."""
        if self._stops:
            return False
        self.stop()
        return True

    def reload(self) -> None:
        """Do what SIGHUP does."""
        self._hung_up = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal.

        It is not recorded for uvicorn to raise again at the end, so that a drained server exits
        with 0.
        """
        self.stop()
        if self._lifespans is not None and not self._lifespans.done():
            # Code that blocks the loop would not notice, so it is interrupted where it is.
            with contextlib.suppress(RuntimeError):
                if asyncio.current_task() is self._lifespans:
                    raise LifespanInterruption

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while the server runs.

        SIGHUP, which a terminal sends when it is closed, would end the process and its calls.
        Where it is ignored or handled already, as under nohup, that stays so.
        """
        with super().capture_signals():
            takes = (
                threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
            )
            if takes:
                signal.signal(signal.SIGHUP, self._hang_up)
            try:
                yield
            finally:
                if takes:
                    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def _hang_up(self, sig: int, frame: FrameType | None) -> None:
        self.reload()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Run the server until it has stopped, whatever the applications' callbacks raise."""
        run_contained(self._serve_to_the_end(sockets), loop_factory=self.config.get_loop_factory())

    async def _serve_to_the_end(self, sockets: list[socket.socket] | None) -> None:
        await self.serve(sockets)
        if self._resists:
            # The event loop would wait for the lifespan for ever before it closes.
            logging.shutdown()
            os._exit(self.exit_status)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the listener, for the health checks, and then the handlers' lifespans."""
        runtime = self._runtime
        sockets = bind(runtime.settings) if sockets is None else sockets
        runtime.started.clear()
        self._open(sockets)
        if self._side is not None:
            self._side.serve(self._directory, runtime.counters, self._spare)
        # Loading models may block for a while; what is measured of it is not the calls' lag.
        watchdog = Watchdog(ServerCounters(()), warn_after=_START_BLOCK_WARNING)
        watchdog.start()
        try:
            await self._wait_for(
                self._prepare(), "starting", limit=runtime.settings.lifespan_timeout
            )
        except AskedToStopError:
            log.info("stopped before the start was complete")
        except Exception as error:
            # As for wrong arguments, where nothing outside has failed.
            self.exit_status = 2 if isinstance(error, HandlerError | ImportError) else 1
            self._start_failed(error_lines(error))
            log.debug("startup failed", exc_info=error)
        else:
            self._watchdog.start()
            runtime.started.set()
            self.started = True
            self._announce(sockets)
            self._notifier.ready()
            return
        finally:
            watchdog.stop()
        # Requests that wait for the start are told that it is not to be.
        runtime.admission.close()
        await self._stop_accepting()
        await super().shutdown(sockets)
        self.should_exit = True

    async def _wait_for(self, work: Coroutine[Any, Any, None], doing: str, *, limit: float) -> None:
        """Open or close the handlers' lifespans (see `wait_for_lifespans`)."""
        runtime, stops = self._runtime, self._stops
        self._lifespans = asyncio.create_task(work, name=doing)
        try:
            await wait_for_lifespans(
                self._lifespans,
                doing,
                what=lambda: runtime.routes.opening or "the handlers' lifespans",
                limit=limit,
                asked_to_stop=lambda: self._stops > stops,
                tick=self._tick,
            )
        finally:
            self._resists = not self._lifespans.done()
            self._lifespans = None

    async def _prepare(self) -> None:
        await self._runtime.startup()
        try:
            self._runtime.routes.try_out()
        except Exception:
            await self._runtime.shutdown()
            raise

    async def on_tick(self, counter: int) -> bool:
        """Do the periodic work, ten times a second, and tell whether to stop."""
        if await self._tick(counter) and not self._stops:
            self.stop()
        if self._hung_up:
            self._notifier.reloading()
            log.info(
                "reloading: certificates are read again, calls go on",
                hint="SIGTERM stops the server; other settings need a restart",
            )
        if self._certificates is not None and (self._hung_up or counter % _CERTIFICATE_TICKS == 0):
            self._certificates.reload_if_changed()
            self._runtime.counters.certificate_expires = self._certificates.expires
        if self._hung_up:
            self._hung_up = False
            self._notifier.ready()
        self._notifier.alive(f"{'draining' if self._stops else 'serving'} {_calls(self._runtime)}")
        if self._stops:
            return self._leave()
        return False

    async def _tick(self, counter: int) -> bool:
        self._overload.tick(self._backlog())
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            sweep_connections(self._connections.waiting, now)
            self._runtime.admission.look()
            self._memory.check(now, self._connections.closed)
        return await super().on_tick(counter)

    def _backlog(self) -> int:
        """Return the number of connections that wait to be taken by this process."""
        acceptors = [each for each in self.servers if isinstance(each, Acceptor)]
        return sum(acceptor.backlog for acceptor in acceptors)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener and the remaining connections, then the handlers' lifespans."""
        await super().shutdown(sockets)
        await self._stop_accepting()
        try:
            settings = self._runtime.settings
            await self._wait_for(
                self._runtime.shutdown(waits=not self.force_exit),
                "stopping",
                limit=settings.lifespan_timeout + settings.after_call_seconds,
            )
        except AskedToStopError:
            log.warning("stopped before the handlers' lifespans had closed")
        except LifespanError as error:
            log.error("shutdown failed", reason=str(error))
            self.exit_status = 1
        except Exception:
            log.exception("shutdown failed")
            self.exit_status = 1
        log.info("stopped", calls=self._runtime.counters.calls_total)

    def _open(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to take connections."""
        self._spare = SpareDescriptors(_SPARE_DESCRIPTORS)
        acceptors = [self._accept_at(sock, self.config) for sock in sockets]
        self.servers = cast(Any, acceptors)

    def _start_failed(self, reasons: Sequence[str]) -> None:
        for reason in reasons:
            log.error("startup failed", reason=reason)

    def _announce(self, sockets: Sequence[socket.socket]) -> None:
        settings = self._runtime.settings
        addresses = [address_of(sock) for sock in sockets]
        side = self._side
        announce_addresses(
            settings,
            addresses,
            [address_of(sock) for sock in side.metrics] if side else (),
            [web_address_of(sock) for sock in side.admin] if side else (),
        )
        announce_routes(settings, self._runtime.routes, addresses)

    async def _stop_accepting(self) -> None:
        self._runtime.started.set()
        if self._side is not None:
            await self._side.close()
        self._close()
        self._watchdog.stop()

    def _close(self) -> None:
        """Take no more connections."""
        for server in self.servers:
            server.close()
        self._spare.close()

    def _leave(self) -> bool:
        runtime = self._runtime
        if self._stops == 1:
            self._drain.begin()
        else:
            self._drain.hurry()
        while self._drain.phase is not Phase.GONE:
            idle = self._is_idle()
            working = len(runtime.after_calls)
            phase = self._drain.advance(idle=idle, working=bool(working))
            if phase is None:
                return self.force_exit
            if phase is Phase.DRAINING:
                runtime.admission.close()
                if working or runtime.calls or runtime.relays or runtime.admission.expected:
                    log.info(
                        "draining",
                        calls=len(runtime.calls),
                        answered=runtime.admission.expected,
                        relayed=len(runtime.relays),
                        after_calls=working,
                        at_most_seconds=runtime.settings.drain_timeout,
                        hint="a second signal closes them",
                    )
            elif phase is Phase.CLOSING:
                log.warning("closing calls", calls=len(runtime.calls))
                runtime.close_calls(CloseCode.GOING_AWAY, "the server is shutting down")
        return True

    def _is_idle(self) -> bool:
        """Tell whether no call is live or expected, and none of another process relayed."""
        runtime = self._runtime
        return runtime.admission.idle and not runtime.calls and not runtime.relays

    def _accept_at(self, sock: socket.socket, config: uvicorn.Config) -> Acceptor:
        counters, arrivals = self._runtime.counters, self._arrivals(config)
        return Acceptor(sock, arrivals, self._connections, self._spare, counters)

    def _arrivals(self, config: uvicorn.Config) -> Arrivals:
        make = functools.partial(
            cast(Any, config.http_protocol_class),
            config=config,
            server_state=self.server_state,
            app_state={},
        )
        return Arrivals(
            make,
            self._connections,
            self._runtime.counters,
            context=cast(Any, config.ssl),
            handshake_timeout=self._runtime.settings.header_timeout,
        )


def run_server(settings: Settings, routes: Routes) -> int:
    """Run a server until it is asked to stop, and return the exit status.

    Raises:
        BindError: The server cannot listen on the address.
        TLSError: The certificate files cannot be used.

    """
    configure_logs(settings.log_level, settings.log_format)
    raise_descriptor_limit()
    certificates = load_certificates(settings)
    sockets, metrics = listening_sockets(settings)
    try:
        side = SideListeners(settings, metrics)
        runtime = Runtime(settings, routes, has_room=is_one_free, coalesces=True)
        widen = join_fleet(runtime)
        daemon = Daemon(runtime, certificates, side=side, notifier=Notifier(), widen=widen)
        settle_garbage_collection()
        daemon.run(sockets)
    finally:
        for sock in (*sockets, *metrics):
            sock.close()
    return daemon.exit_status


def _calls(runtime: Runtime) -> str:
    number = len(runtime.calls)
    return f"{number} call{'' if number == 1 else 's'}"


def uvicorn_config(
    runtime: Runtime,
    connections: HttpConnections,
    turning_away: TurningAway,
    certificates: Certificates | None = None,
) -> uvicorn.Config:
    """Return uvicorn's configuration, with this server's protocol classes."""
    settings = runtime.settings
    limits = HttpLimits(
        header_timeout=settings.header_timeout,
        idle_timeout=settings.idle_timeout,
        max_header_bytes=settings.max_header_bytes,
        max_body_bytes=settings.max_body_bytes,
    )
    return uvicorn.Config(
        create_app(runtime),
        interface="asgi3",
        http=cast(
            Any,
            functools.partial(
                HttpConnection,
                limits,
                runtime.refusals,
                connections,
                mover=Mover(runtime),
                turning_away=turning_away,
            ),
        ),
        ws=cast(Any, functools.partial(StreamConnection, runtime)),
        ws_max_size=settings.max_message_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        workers=1,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=settings.access_log,
        timeout_keep_alive=math.ceil(settings.idle_timeout),
        timeout_graceful_shutdown=HTTP_CLOSE_TIMEOUT,
        ssl_context_factory=(lambda *_: certificates.context) if certificates else None,
    )


def load_certificates(settings: Settings) -> Certificates | None:
    """Load the certificate files; None if the settings name none.

    Raises:
        TLSError: The files cannot be used.

    """
    if settings.ssl_certfile is None:
        return None
    password = settings.ssl_keyfile_password
    return Certificates(
        settings.ssl_certfile,
        settings.ssl_keyfile,
        password.get_secret_value() if password else "",
    )
