"""The whole sandbox: what `mediaserver sandbox` runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from audiocodecs import Wav
from mediaserver.sandbox.account import Account, RateLimiter
from mediaserver.sandbox.api.app import create_api
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.calls.services import ExchangeOptions, Services, loop_clock
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.script import names_file, person_from_option
from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.book import RecordBook
from mediaserver.sandbox.records.store import MemoryStore, SqlStore, Store
from mediaserver.sandbox.webhooks import Patience, WebhookClient
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.media_stream import Connect
from mediaserver.telemetry.logs import default_logs


_GRACE: Final = 5
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_CHARACTERS_PER_SECOND: Final = 14.0


default_logs()


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Everything about a sandbox.

    Attributes:
        account: Credentials; random ones if left out.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        phone: The person at every number, in the form that `person_from_option` reads; a person
            who answers, speaks and hangs up if left out.
        database: SQLite file; without one, everything is forgotten at the end.
        exchange: How the exchange behaves.
        rates: What everything costs.
        patience: How long URLs without options may take.
        requests: Requests that the API admits in `seconds`.
        seconds: Period of the rate limit.

    """

    account: Account = field(default_factory=Account)
    host: str = "127.0.0.1"
    port: int = 9000
    phone: str | None = None
    database: Path | None = None
    exchange: ExchangeOptions = field(default_factory=ExchangeOptions)
    rates: Rates = field(default_factory=Rates)
    patience: Patience = field(default_factory=Patience)
    requests: int = 300
    seconds: float = 5.0


class Sandbox:
    """A sandbox that does not listen: its exchange, and the application that serves its API.

        async with Sandbox(SandboxOptions()) as sandbox:
            call = await sandbox.exchange.call("+14155550123", caller="+14155550100", plan=…)

    Args:
        options: Everything about it.
        transport: Carries its HTTP requests; the network if left out.
        connect: Opens the WebSockets of its streams; over the network if left out.
        now: Returns Unix time; the time of day, going on with the event loop's clock, if left out.

    Attributes:
        exchange: All calls.
        app: The API, for any ASGI server.

    Raises:
        ScriptError: `options.phone` describes no person.
        StoreError: The database cannot be used.

    """

    exchange: Exchange
    app: FastAPI

    def __init__(
        self,
        options: SandboxOptions,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        connect: Connect = open_websocket,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._options = options
        self._transport = transport
        self._connect = connect
        self._now = now
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        options = self._options
        dialplan = await _dialplan(options.phone)
        store: Store = MemoryStore()
        if options.database is not None:
            store = await SqlStore.open(options.database)
        self._stack.push_async_callback(store.aclose)
        client = httpx.AsyncClient(
            transport=self._transport,
            trust_env=False,
            # It trusts what SSL_CERT_FILE names, as the WebSockets do. To read all certificates
            # takes long, and a transport has no use for them.
            verify=self._transport is None and httpx.create_ssl_context(),
            follow_redirects=False,
            headers={"User-Agent": "mediaserver-sandbox"},
        )
        self._stack.push_async_callback(client.aclose)
        webhooks = WebhookClient(options.account, client, options.patience)
        self._stack.push_async_callback(webhooks.aclose)
        services = Services(
            account=options.account,
            records=RecordBook(store),
            webhooks=webhooks,
            speak=speak_text,
            rates=options.rates,
            options=_with_files(options.exchange, options.phone),
            connect=self._connect,
            now=self._now or loop_clock(),
        )
        self.exchange = Exchange(services, dialplan)
        await self.exchange.open()
        self._stack.push_async_callback(self.exchange.aclose)
        self.app = create_api(self.exchange, RateLimiter(options.requests, options.seconds))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


async def serve_sandbox(
    options: SandboxOptions,
    *,
    ready: Callable[[str], object] | None = None,
    call_ended: Callable[[SandboxCall], object] | None = None,
) -> None:
    """Serve a sandbox until SIGINT or SIGTERM, or until cancelled.

    Args:
        options: Everything about it.
        ready: Called with the URL, without a slash at its end, once the sandbox listens.
        call_ended: Called with each call that has ended.

    Raises:
        OSError: Listening at the address failed.
        ScriptError: `options.phone` describes no person.
        StoreError: The database cannot be used.

    """
    with _listener(options.host, options.port) as listener:
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        async with Sandbox(options) as sandbox:
            sandbox.exchange.services.public_url = url
            sandbox.exchange.on_call_ended = call_ended
            server = _Server(
                uvicorn.Config(
                    sandbox.app,
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    timeout_graceful_shutdown=_GRACE,
                ),
                lambda: ready(url) if ready is not None else None,
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                await asyncio.shield(serving)
            except asyncio.CancelledError:
                # Cancelling the server itself would leave its listener in the event loop.
                server.should_exit = True
                await serving
                raise


def environment(account: Account, url: str) -> list[str]:
    """Return the environment variables that point applications at a sandbox.

    Plivo's SDKs read the first two, and no URL.
    """
    token = account.auth_token.get_secret_value()
    return [
        f"PLIVO_AUTH_ID={account.auth_id}",
        f"PLIVO_AUTH_TOKEN={token}",
        f"PLIVO_BASE_URL={url}",
        f"MEDIASERVER_AUTH_ID={account.auth_id}",
        f"MEDIASERVER_AUTH_TOKEN={token}",
        f"MEDIASERVER_API_URL={url}",
    ]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal and hang up all calls.

        uvicorn's own method raises the signal again, which would end the process too early.
        """
        loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio lets small messages out at once (TCP_NODELAY) only where it sees that this is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _with_files(options: ExchangeOptions, phone: str | None) -> ExchangeOptions:
    """Let requests name files in the folder of the phone's file, unless a folder is given."""
    if options.files is not None or phone is None or not names_file(phone):
        return options
    return replace(options, files=Path(phone.strip()).parent)


async def _dialplan(phone: str | None) -> Dialplan:
    if phone is None:
        return Dialplan()
    person = person_from_option(phone)
    await person.prepare()
    return Dialplan(lambda: person)


async def speak_text(text: str, language: str) -> Wav:
    """Synthesise `text` with eSpeak NG; without it, return silence of about the same length."""
    try:
        from mediaserver import espeak
    except ImportError:
        return _unspoken(text)
    try:
        return await asyncio.to_thread(espeak.speak, text, language.lower())
    except espeak.SpeechError:
        return _unspoken(text)


def _unspoken(text: str) -> Wav:
    seconds = max(0.5, len(text) / _CHARACTERS_PER_SECOND)
    return Wav(np.zeros(round(seconds * 8_000), np.int16), 8_000)
