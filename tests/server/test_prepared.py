"""Handlers that get ready at the answer webhook, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import httpx
import pytest
from httpx import Response

from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route, Routes
from mediaserver.server.prepared import NEVER_CAME
from mediaserver.server.process.app import create_app
from mediaserver.server.runtime import Runtime
from mediaserver.testing import joined


CALL = {"CallUUID": "call-1", "From": "14155550100", "To": "14155550199", "Event": "StartApp"}
HANGUP = {"CallUUID": "call-1", "Event": "Hangup", "HangupCauseCode": "3000"}
ANSWER = AnswerRequest(call_id="call-1", caller="+14155550100", called="+14155550199")


class Ready(Handler):
    """Writes down what happens to it."""

    made: ClassVar[Any] = ()
    seconds = 0.3

    def __init__(self, **settings: Any) -> None:
        self.notes: list[Any] = []
        self.settings = settings
        self.made.append(self)

    async def on_answer(self, answer: AnswerRequest, shared: str | None) -> None:
        self.notes.append(("answer", answer.caller, shared))
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.notes.append("cancelled")
            raise
        self.notes.append("ready")

    async def on_start(self) -> None:
        self.notes.append("start")

    async def on_stop(self, reason: str) -> None:
        self.notes.append(reason)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []
    monkeypatch.setattr(Ready, "made", made)
    return made


def answered(runtime: Runtime, **fields: Any) -> Coroutine[Any, Any, Any]:
    async def post(path: str) -> Response:
        transport = httpx.ASGITransport(create_app(runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, data={**CALL, **fields})

    return post("/answer")


async def hung_up(runtime: Runtime) -> None:
    transport = httpx.ASGITransport(create_app(runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/hangup", data=HANGUP)


async def test_a_handler_gets_ready_when_the_call_is_answered(
    start_runtime: Callable[..., Any], made: list[Ready]
) -> None:
    runtime = await start_runtime(Route(Ready, settings={"voice": "ann"}))
    await answered(runtime)
    await asyncio.sleep(1)
    (handler,) = made
    assert handler.notes == [("answer", "14155550100", None), "ready"]
    assert handler.settings == {"voice": "ann"}


async def test_the_stream_gets_the_handler_that_got_ready(made: list[Ready]) -> None:
    async with joined(Ready, answer=ANSWER) as line:
        await line.phone.wait_until(1.0)
        assert line.stream.answer is not None
        assert line.stream.answer.call_id == line.stream.call_id
        assert line.stream.caller == "+14155550100"
        assert len(line.runtime.prepared) == 0
    (handler,) = made
    assert handler.notes[0][0] == "answer"
    assert handler.notes[1:] == ["start", "ready", "Plivo closed the socket (1000)"]


async def test_getting_ready_ends_with_the_call(
    made: list[Ready], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ready, "seconds", 60)
    async with joined(Ready, answer=ANSWER) as line:
        await line.phone.wait_until(1.0)
    assert made[0].notes[-1] == "cancelled"


async def test_a_handler_without_the_hook_is_made_when_its_stream_comes(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime()
    await answered(runtime)
    assert len(runtime.prepared) == 0


async def test_it_is_told_what_calls_share(made: list[Ready]) -> None:
    class Sharing(Ready):
        @staticmethod
        def lifespan() -> shared:
            return shared()

    async with joined(Sharing, answer=ANSWER) as line:
        assert line.stream.shared == "a pool"
    assert made[0].notes[0] == ("answer", "+14155550100", "a pool")


class shared:  # noqa: N801 - a lifespan
    async def __aenter__(self) -> str:
        return "a pool"

    async def __aexit__(self, *exception: Any) -> None:
        return None


@pytest.mark.parametrize("seconds", [0.1, 60])
async def test_a_call_that_is_hung_up_before_its_stream_lets_go(
    start_runtime: Callable[..., Any],
    made: list[Ready],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    monkeypatch.setattr(Ready, "seconds", seconds)
    runtime = await start_runtime(Route(Ready))
    await answered(runtime)
    await asyncio.sleep(1)
    await hung_up(runtime)
    await asyncio.sleep(1)
    assert made[0].notes[1:] == ["ready" if seconds < 1 else "cancelled", NEVER_CAME]
    assert len(runtime.prepared) == 0


async def test_a_stream_that_never_comes_lets_go_when_its_token_has_run_out(
    start_runtime: Callable[..., Any], made: list[Ready]
) -> None:
    runtime = await start_runtime(Route(Ready), token_seconds=60)
    await answered(runtime)
    await asyncio.sleep(59)
    assert made[0].notes[-1] == "ready"
    await asyncio.sleep(2)
    assert made[0].notes[-1] == NEVER_CAME


async def test_a_webhook_that_comes_again_gets_nothing_ready_again(
    start_runtime: Callable[..., Any], made: list[Any]
) -> None:
    runtime = await start_runtime(Route(Ready))
    await answered(runtime)
    await answered(runtime)
    assert len(made) == 1


async def test_a_call_that_is_sent_elsewhere_gets_another_ready(
    start_runtime: Callable[..., Any], made: list[Ready]
) -> None:
    runtime = await start_runtime(Route(Ready, "/one"), Route(Ready, "/two"))
    await answered(runtime)
    transport = httpx.ASGITransport(create_app(runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/answer?path=/two", data=CALL)
    await asyncio.sleep(1)
    first, second = made
    assert first.notes[-1] == NEVER_CAME
    assert second.notes[-1] == "ready"


async def test_a_caller_turned_away_gets_nothing_ready(
    start_runtime: Callable[..., Any], made: list[Any]
) -> None:
    runtime = await start_runtime(Route(Ready), max_calls=1)
    runtime.admission.admit()
    await answered(runtime)
    assert made == []


async def test_no_more_are_ready_than_there_may_be_calls(
    start_runtime: Callable[..., Any], made: list[Ready]
) -> None:
    runtime = await start_runtime(Route(Ready), max_calls=2, reservation_seconds=5)
    for number in range(4):
        await answered(runtime, CallUUID=f"call-{number}")
        await asyncio.sleep(4)
    assert len(runtime.prepared) == 2
    assert [handler.notes[-1] for handler in made] == [NEVER_CAME, NEVER_CAME, "ready", "ready"]


async def test_a_failure_is_counted_and_the_call_goes_on() -> None:
    class Failing(Handler):
        async def on_answer(self, answer: AnswerRequest, shared: None) -> None:
            raise ConnectionError("the model is away")

        async def on_start(self) -> None:
            await self.stream.play(b"\x00" * 800)

    async with joined(Failing, answer=ANSWER, raises=False) as line:
        await line.phone.wait_for_audio()
        assert line.runtime.counters.handler_errors == 1
        assert not line.stream.ended


async def test_a_handler_that_cannot_be_made_is_counted_and_the_call_is_answered(
    start_runtime: Callable[..., Any],
) -> None:
    class Broken(Ready):
        def __init__(self) -> None:
            raise LookupError("no voice")

    runtime = await start_runtime(Route(Broken))
    response = await answered(runtime)
    assert b"<Stream" in response.content
    assert runtime.counters.handler_errors == 1


async def test_a_failure_to_let_go_is_counted(start_runtime: Callable[..., Any]) -> None:
    class Stubborn(Ready):
        async def on_stop(self, reason: str) -> None:
            raise ConnectionError("gone")

    runtime = await start_runtime(Route(Stubborn))
    await answered(runtime)
    runtime.prepared.abandon("call-1")
    await runtime.prepared.close()
    assert runtime.counters.handler_errors == 1


async def test_a_server_that_stops_lets_go_of_all_and_waits_no_longer_than_its_grace(
    start_runtime: Callable[..., Any], made: list[Ready]
) -> None:
    class Slow(Ready):
        async def on_stop(self, reason: str) -> None:
            await super().on_stop(reason)
            await asyncio.sleep(3600)

    runtime = await start_runtime(Route(Ready, "/one"), Route(Slow, "/two"), grace=5)
    routes = runtime.routes.routes
    runtime.prepared.prepare(routes[0], AnswerRequest(call_id="call-1"))
    runtime.prepared.prepare(routes[1], AnswerRequest(call_id="call-2"))
    begun = asyncio.get_running_loop().time()
    await runtime.prepared.close()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5)
    assert [handler.notes[-1] for handler in made] == [NEVER_CAME, NEVER_CAME]


async def test_who_is_let_go_of_has_no_longer_than_the_grace(
    start_runtime: Callable[..., Any], made: list[Ready]
) -> None:
    class Slow(Ready):
        async def on_stop(self, reason: str) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                self.notes.append("cut off")

    runtime = await start_runtime(Route(Slow), grace=5)
    await answered(runtime)
    await hung_up(runtime)
    await asyncio.sleep(6)
    assert made[0].notes[-1] == "cut off"


async def test_a_stream_of_another_process_has_a_handler_of_its_own(made: list[Ready]) -> None:
    async with joined(Ready, caller="+14155550100") as line:
        await line.phone.wait_until(0.5)
    (handler,) = made
    assert handler.notes[0] == "start"


async def test_tasks_have_the_name_of_the_call(made: list[Any]) -> None:
    class Named(Handler):
        async def on_answer(self, answer: AnswerRequest, shared: None) -> None:
            task = asyncio.current_task()
            assert task is not None
            names.append(task.get_name())

    names: list[Any] = []
    async with joined(Routes(Route(Named)), answer=ANSWER) as line:
        call_id = line.stream.call_id
    assert len(names) == 1
    assert names[0].startswith(f"call {call_id} ")
    assert names[0].endswith("Named on_answer")
