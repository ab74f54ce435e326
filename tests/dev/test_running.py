import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mediaserver.dev.running import DevOptions, open_browser, run_dev
from mediaserver.server.process.listening import BindError


pytest.importorskip("watchfiles")

LIMIT = 60.0
"""Seconds after which a server that a test waits for has failed."""


@asynccontextmanager
async def developing(options: DevOptions) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """Run the command's server, and give a client of its page and its task."""
    opened: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(url: str) -> None:
        loop.call_soon_threadsafe(opened.put_nowait, url)

    task = asyncio.create_task(run_dev(options, opened=tell))
    async with asyncio.timeout(LIMIT), httpx.AsyncClient(trust_env=False, timeout=LIMIT) as client:
        try:
            url = asyncio.create_task(opened.get())
            await asyncio.wait({url, task}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                url.cancel()
                await task
            client.base_url = httpx.URL(await url)
            yield client, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def agent_is(client: httpx.AsyncClient, wanted: str) -> str:
    """Wait until the page is told this of the agent, and return the line."""
    async with client.stream("GET", "/agent") as response:
        async for line in response.aiter_lines():
            if wanted in line:
                return line
    raise AssertionError(f"the agent was never {wanted}")


async def test_an_agent_is_served_and_the_page_outlives_its_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent = tmp_path / "their_agent.py"
    agent.write_text("from mediaserver.agents import Echo as Agent\n")
    async with developing(DevOptions(("their_agent:Agent",))) as (client, task):
        await agent_is(client, '"ready"')
        assert (await client.get("/calls")).json()["calls"] == []
        agent.write_text("oops\n")
        line = await agent_is(client, '"failed"')
        assert "their_agent.py:1: NameError" in line
        agent.write_text("from mediaserver.agents import Echo as Agent\n\n")
        await agent_is(client, '"ready"')
        os.kill(os.getpid(), signal.SIGTERM)
        await task


async def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BindError, match="one with --port"):
            await run_dev(DevOptions(port=taken.getsockname()[1]), opened=print)


@pytest.mark.parametrize(
    ("environment", "platform", "shown"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "w3m"}, "linux", True),
        ({}, "darwin", True),
        ({}, "linux", False),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "192.0.2.7 1 192.0.2.8 22"}, "linux", False),
    ],
)
def test_a_browser_is_opened_where_there_is_a_display(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], platform: str, shown: bool
) -> None:
    opened: list[str] = []

    def show(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("mediaserver.dev.running.sys.platform", platform)
    monkeypatch.setattr("mediaserver.dev.running.webbrowser.open", show)
    assert open_browser("http://127.0.0.1:1/", environment) == shown
    assert opened == ["http://127.0.0.1:1/"] * shown
