"""``mediaserver dev``: an agent, the sandbox and the page, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import uvicorn
from starlette.types import ASGIApp

from mediaserver.dev.agent_answer import AgentAnswer
from mediaserver.dev.agent_command import agent_command, watched_folders
from mediaserver.dev.agent_server import AgentServer, changes_in
from mediaserver.dev.page_app import PagePhones, create_page_app
from mediaserver.dev.phone_messages import PhoneRequestError
from mediaserver.dev.phone_socket import BrowserPhones
from mediaserver.dev.unserved_call import why_unserved
from mediaserver.dev.work_folder import work_folder
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.calls.services import ExchangeOptions
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.platform import Sandbox, SandboxOptions, environment
from mediaserver.server.process.listening import bind
from mediaserver.settings import Settings


_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_GRACE: Final = 1
"""Seconds in which requests may be answered at the end."""


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What ``mediaserver dev`` is told.

    Attributes:
        specs: name the handlers, as for ``serve``; if empty, the file of settings does.
        port: port of the page on loopback; 0 for any that is free.
        config: the file of settings, if not the one in the working directory.
        captures: the folder in which the wire of calls is kept; if None, it is forgotten at the
            end.
        paths: of the handlers' streams, where they are named with one.

    """

    specs: Sequence[str] = ()
    port: int = 0
    config: Path | None = None
    captures: Path | None = None
    paths: Sequence[str] = ()


async def run_dev(
    options: DevOptions,
    *,
    opened: Callable[[str], object],
    ready: Callable[[str], object] = lambda url: None,
) -> None:
    """Serve an agent, the sandbox and the page until a signal comes, or until cancelled.

    Args:
        options: what to serve.
        opened: called with the page's URL once it can be opened, in a thread of its own.
        ready: called with the page's URL whenever the agent has started.

    Raises:
        BindError: The page's port cannot be listened on.

    """
    (listener,) = bind(Settings.model_construct(host="127.0.0.1", port=options.port))
    with (
        listener,
        work_folder() as folder,
        _stop() as stop,
    ):
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with _parts(options, folder, url) as (agent, answer, phones, admin, sandbox):
            app = create_page_app(
                agent,
                answer,
                phones,
                admin=admin,
                sandbox=sandbox.app,
                port=port,
                paths=options.paths,
            )
            watched = watched_folders(options.specs, Path.cwd(), options.config)
            running = asyncio.create_task(agent.run(changes_in(watched)), name="agent")
            try:
                async with _served(app, listener):
                    # A browser for which one waits must not keep the command from ending.
                    threading.Thread(target=opened, args=(f"{url}/",), daemon=True).start()
                    telling = asyncio.create_task(_tell_ready(agent, partial(ready, f"{url}/")))
                    ends = asyncio.create_task(stop.wait())
                    await asyncio.wait({ends, running}, return_when=asyncio.FIRST_COMPLETED)
                    ends.cancel()
                    telling.cancel()
                    # It ends first: then what it tells the page is over.
                    await _cancelled(running)
            finally:
                await _cancelled(running)


async def _tell_ready(agent: AgentServer, ready: Callable[[], object]) -> None:
    async for state in agent.states():
        if state.state == "ready":
            ready()


@asynccontextmanager
async def _parts(
    options: DevOptions, folder: Path, url: str
) -> AsyncIterator[tuple[AgentServer, AgentAnswer, PagePhones, httpx.AsyncClient, Sandbox]]:
    account, agent_port, admin_socket = Account(), _free_port(), folder / "admin.sock"
    agent_url = f"http://127.0.0.1:{agent_port}"
    command = agent_command(
        options.specs,
        port=agent_port,
        admin=admin_socket,
        captures=options.captures or folder / "captures",
        config=options.config,
    )
    variables = dict(line.split("=", 1) for line in environment(account, url))
    sandboxed = SandboxOptions(
        account=account, exchange=ExchangeOptions(recordings=folder / "recordings")
    )
    async with (
        Sandbox(sandboxed) as sandbox,
        httpx.AsyncClient(trust_env=False) as client,
        httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(admin_socket)),
            base_url="http://localhost",
            trust_env=False,
        ) as admin,
    ):
        sandbox.exchange.services.public_url = url
        answer = AgentAnswer(agent_url, url, account, client)
        spec = " ".join(options.specs) or str(options.config or "mediaserver.toml")
        agent = AgentServer(command, os.environ | variables, admin, spec=spec)

        def plan(format: str, path: str) -> CallPlan:
            if agent.why_away:
                raise PhoneRequestError(agent.why_away)
            return answer.plan(format, path)

        phones = BrowserPhones(sandbox.exchange, plan, partial(why_unserved, admin))
        sandbox.exchange.dialplan = Dialplan(phones.person)
        yield agent, answer, phones, admin, sandbox


@asynccontextmanager
async def _served(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an application within the block."""
    server = _Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="page")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command."""
        yield


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task, and raise what it raised."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


@contextmanager
def _stop() -> Iterator[asyncio.Event]:
    """Yield what is set by the signals that end a command."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _free_port() -> int:
    """Return a port of loopback that is free; the agent's server has the same at each start."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def open_browser(url: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Show a page in the user's browser, and return whether there is one to show it in.

    A browser for the terminal would take it from the command, so where there is no display only
    the user's own choice (``BROWSER``) is used.
    """
    has_display = sys.platform == "darwin" or any(
        environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not has_display or environ.get("SSH_CONNECTION"):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
