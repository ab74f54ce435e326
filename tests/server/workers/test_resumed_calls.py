"""Two worker processes and a local Plivo: a worker is killed, and its caller hears the other."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mediaserver.sandbox import Misbehaviour
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.sandbox.webhooks import Target
from tests.server.conftest import ServerProcess


pytestmark = pytest.mark.real_time

HANDLER = '''
import os
from pathlib import Path

import numpy as np
from mediaserver import Handler

TONE = (8000 * np.sin(np.arange(4000) * 2 * np.pi * 440 / 8000)).astype(np.int16)


class Beeps(Handler):
    """Beeps, and writes down which process does, and what it knows of an earlier stream."""

    async def on_start(self):
        before = self.stream.previous
        known = "-" if before is None else before.end_reason.replace(" ", "_")
        with Path(__file__).with_name("told").open("a") as told:
            told.write(f"{os.getpid()} {known}\\n")
        await (await self.stream.play(TONE, rate=8000)).heard()
        if self.stream.path == "/leaves":
            await self.stream.hang_up()
'''


class Workers:
    """A server with workers whose calls are resumed once, and what its handlers have told."""

    def __init__(self, folder: Path) -> None:
        (folder / "beeps.py").write_text(HANDLER)
        self._told = folder / "told"
        name = f"{folder / 'beeps.py'}:Beeps"
        self.process = ServerProcess(
            f"/stays={name}",
            f"/leaves={name}",
            *("--port", "0", "--workers", "2", "--resume-calls", "1"),
        )
        self.url = str(self.process.wait_for("listening")["url"])
        while sum(each["event"] == "ready" for each in self.process.logged) < 2:
            self.process.wait_for("ready")

    async def call(
        self,
        caller: Callable[[Handset], Awaitable[None]],
        path: str = "/stays",
        misbehaviour: Misbehaviour | None = None,
    ) -> None:
        """Have somebody call."""
        await asyncio.to_thread(self._told.write_text, "")
        plan = CallPlan(Target(f"{self.url}/answer?path={path}"))
        async with Sandbox(SandboxOptions()) as sandbox:
            person = Person(caller, ring=0, misbehaviour=misbehaviour or Misbehaviour())
            call = await sandbox.exchange.dial_in("+14155550100", person=person, plan=plan)
            await call.wait_ended()

    async def told(self) -> list[list[str]]:
        text = await asyncio.to_thread(self._told.read_text)
        return [line.split() for line in text.splitlines()]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    started = Workers(tmp_path_factory.mktemp("workers"))
    try:
        yield started
    finally:
        started.process.terminate()
        started.process.terminate()
        assert started.process.wait() == 0
        started.process.close()


async def test_a_caller_whose_worker_is_killed_hears_the_other_one(workers: Workers) -> None:
    waited: list[float] = []

    async def caller(handset: Handset) -> None:
        await handset.wait_for_speech()
        await handset.wait_for_silence(0.3)
        ((worker, _),) = await workers.told()
        os.kill(int(worker), signal.SIGKILL)
        killed = handset.time
        await handset.wait_for_speech()
        waited.append(handset.time - killed)
        handset.hang_up()

    await workers.call(caller)
    first, second = await workers.told()
    assert first[0] != second[0]
    assert (first[1], second[1]) == ("-", "the_process_that_had_the_call_is_gone")
    assert waited[0] < 5


async def test_a_call_whose_handler_hangs_up_is_not_resumed(workers: Workers) -> None:
    async def caller(handset: Handset) -> None:
        await handset.wait_ended()

    await workers.call(caller, "/leaves")
    assert len(await workers.told()) == 1


async def test_a_call_whose_connection_breaks_again_and_again_ends_with_the_busy_message(
    workers: Workers,
) -> None:
    async def caller(handset: Handset) -> None:
        await handset.wait_ended()

    await workers.call(caller, misbehaviour=Misbehaviour.parse("drop@1"))
    first, second = await workers.told()
    assert first[1] == "-"
    assert second[1].startswith("the_connection_was_lost")
