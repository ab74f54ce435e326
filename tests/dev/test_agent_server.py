import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from mediaserver.dev.agent_process import LIFELINE
from mediaserver.dev.agent_server import AgentServer, changes_in
from mediaserver.dev.agent_state import AgentState


LIMIT = 60.0
"""Seconds after which a process that a test waits for has failed."""

WAITS = "import signal; signal.pause()"
FAILS = "import sys; sys.exit('mediaserver: my_agent.py:1: NameError: x')"


class Development:
    """An agent's server whose process runs a script, and whose admin listener a test is."""

    def __init__(self, script: str) -> None:
        self.changed: asyncio.Queue[None] = asyncio.Queue()
        self.readyz = 200, "ready\n"
        self.written: list[str] = []
        self.wrote = asyncio.Event()
        self.script = Path("agent.py")
        self.script.write_text(script)
        self.admin = httpx.AsyncClient(
            transport=httpx.MockTransport(self.answer), base_url="http://localhost"
        )
        self.agent = AgentServer(
            [sys.executable, str(self.script)],
            os.environ,
            self.admin,
            spec="my_agent:Agent",
            write=self.write,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/readyz"
        status, text = self.readyz
        return httpx.Response(status, text=text)

    def write(self, line: str) -> None:
        self.written.append(line)
        self.wrote.set()

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await self.changed.get()
            yield

    async def becomes(self, state: str, starts: int = 1) -> AgentState:
        """Wait until the agent's server is in a state."""
        async with asyncio.timeout(LIMIT):
            async for each in self.agent.states():
                if (each.state, each.starts) == (state, starts):
                    return each
        raise AssertionError(f"it never became {state}")


@asynccontextmanager
async def development(script: str, *, ready: bool = True) -> AsyncIterator[Development]:
    dev = Development(script)
    if not ready:
        dev.readyz = 503, "not ready: the model: no key\n"
    running = asyncio.create_task(dev.agent.run(dev.changes()))
    try:
        yield dev
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await dev.admin.aclose()
        assert dev.agent.state.state == "stopped"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_it_is_ready_once_it_takes_calls() -> None:
    async with development(WAITS, ready=False) as dev:
        async with asyncio.timeout(LIMIT):
            async for state in dev.agent.states():
                if state.problem:
                    break
        assert (state.state, state.problem) == ("starting", "not ready: the model: no key")
        assert dev.agent.why_away == "not ready: the model: no key"
        dev.readyz = 200, ""
        state = await dev.becomes("ready")
        assert (state.problem, state.spec) == ("", "my_agent:Agent")
        assert dev.agent.why_away == ""


async def test_a_change_starts_it_again() -> None:
    async with development(WAITS) as dev:
        await dev.becomes("ready")
        dev.changed.put_nowait(None)
        await dev.becomes("ready", starts=2)


async def test_code_that_fails_is_told_until_it_is_mended() -> None:
    async with development(FAILS) as dev:
        dev.readyz = 503, ""
        state = await dev.becomes("failed")
        assert state.problem == "my_agent.py:1: NameError: x"
        assert dev.written == ["mediaserver: my_agent.py:1: NameError: x"]
        dev.script.write_text(WAITS)
        dev.readyz = 200, ""
        dev.changed.put_nowait(None)
        await dev.becomes("ready", starts=2)


async def test_what_has_failed_is_started_again_on_request() -> None:
    async with development(FAILS) as dev:
        dev.readyz = 503, ""
        await dev.becomes("failed")
        dev.script.write_text(WAITS)
        dev.readyz = 200, ""
        dev.agent.start_again()
        await dev.becomes("ready", starts=2)


async def test_what_it_wrote_at_its_start_is_not_why_it_ends_later() -> None:
    async with development(
        "import os, sys, time\n"
        "print('starts', file=sys.stderr, flush=True)\n"
        "while not os.path.exists('ends'): time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)\n"
    ) as dev:
        dev.readyz = 503, "not ready"
        async with asyncio.timeout(LIMIT):
            await dev.wrote.wait()
        dev.readyz = 200, ""
        await dev.becomes("ready")
        Path("ends").touch()
        state = await dev.becomes("failed")
        assert state.problem == "the agent's server has ended with the signal SIGKILL"


async def test_a_start_that_takes_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.dev.agent_server._LONG_START", 0.0)
    async with development(WAITS) as dev:
        dev.readyz = 503, "not ready"
        async with asyncio.timeout(LIMIT):
            async for state in dev.agent.states():
                if state.problem:
                    break
        assert (state.state, state.problem.split(":")[0]) == (
            "starting",
            "it has not started within 15 s",
        )


async def test_the_process_can_tell_that_its_starter_is_gone() -> None:
    async with development(f"import os; os.read(int(os.environ['{LIFELINE}']), 1)") as dev:
        await dev.becomes("ready")
    assert dev.agent.state.starts == 1


async def test_a_line_without_end_is_survived() -> None:
    async with development(f"import sys; sys.stderr.write('x' * 300_000 + '\\n'); {FAILS}") as dev:
        dev.readyz = 503, ""
        assert (await dev.becomes("failed")).problem == "my_agent.py:1: NameError: x"


async def test_one_who_asks_again_gets_the_same_state_after_a_while() -> None:
    dev = Development(WAITS)
    states = dev.agent.states(every=0.0)
    assert await anext(states) is await anext(states)
    await states.aclose()
    await dev.admin.aclose()


async def test_python_and_toml_files_are_watched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watchfiles = pytest.importorskip("watchfiles")
    seen: dict[str, object] = {}

    async def awatch(*paths: Path, **options: object) -> AsyncIterator[str]:
        seen.update(options, paths=paths)
        yield "a change"

    monkeypatch.setattr(watchfiles, "awatch", awatch)
    assert [each async for each in changes_in([tmp_path])] == ["a change"]
    assert seen["paths"] == (tmp_path,)
    takes = seen["watch_filter"]
    assert callable(takes)
    assert takes(watchfiles.Change.modified, str(tmp_path / "agent.py"))
    assert takes(watchfiles.Change.modified, str(tmp_path / "mediaserver.toml"))
    assert not takes(watchfiles.Change.modified, str(tmp_path / "out.wav"))
