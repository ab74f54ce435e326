import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.agents import VoiceAgent
from mediaserver.agents.turns.level import LevelDetector
from mediaserver.handler import Handler
from mediaserver.plivo.errors import NotFoundError
from mediaserver.routes import Route
from mediaserver.server.admin.commands import Action, CallCommand, Delivery
from mediaserver.server.admin.obey import MOST_SAYING, CallOperator
from mediaserver.server.runtime import Runtime
from mediaserver.stream import CallControlError
from mediaserver.testing.services import (
    TimedModel,
    TimedSpeech,
    TimedTranscription,
)
from tests.server.admin.live import URL, Live, hold, turns


Start = Callable[..., Awaitable[Runtime]]


class Speaking(Handler):
    """Says what it is told to, when it may."""

    said: list[str]
    may_say: asyncio.Event

    def __init__(self) -> None:
        type(self).said = []
        type(self).may_say = asyncio.Event()
        self.cleared = 0

    async def on_say(self, text: str) -> None:
        await self.may_say.wait()
        self.said.append(text)


async def obey(runtime: Runtime, action: Action, call: str = "call-1", **more: Any) -> Delivery:
    return await CallOperator(runtime).obey(CallCommand(action, call, **more))


async def test_a_call_that_does_not_exist_is_unknown(start_runtime: Start) -> None:
    delivery = await obey(await start_runtime(Route(hold)), "hangup", "call-7")
    assert delivery.status == "unknown_call"
    assert "'call-7'" in delivery.detail


@pytest.mark.parametrize("name", ["call-1", "stream-1"])
async def test_a_call_is_hung_up_by_its_id_or_that_of_its_stream(
    start_runtime: Start, name: str
) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime)
    other = Live(runtime, "call-2", "stream-2")
    await turns()
    assert (await obey(runtime, "hangup", name)).status == "done"
    assert live.link.closed == (1000, "hung up by an operator")
    assert other.link.closed is None
    live.call.lost("")
    await turns()
    assert live.call not in runtime.calls
    assert +runtime.counters.ended.causes == {(live.call.accepted.route.name, "operator"): 1}


async def test_a_call_that_plivo_does_not_hang_up_goes_on(
    start_runtime: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime)

    async def refuse(stream: Any) -> None:
        raise CallControlError("Plivo said no")

    monkeypatch.setattr(runtime.call_control, "hang_up", refuse)
    delivery = await obey(runtime, "hangup")
    assert (delivery.status, delivery.detail) == ("failed", "Plivo said no")
    assert live.call.state == "live"
    live.stream.close()
    assert live.link.closed == (1000, "closed by the handler")


async def test_a_stream_that_has_not_started_can_only_be_hung_up(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime, start=False)
    assert live.call.state == "starting"
    assert (await obey(runtime, "clear")).status == "refused"
    assert (await obey(runtime, "hangup")).status == "done"
    assert live.link.closed == (1000, "hung up by an operator")


async def test_a_call_that_is_not_known_yet_has_no_name(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime, "?", start=False)
    assert (await obey(runtime, "hangup", "?")).status == "unknown_call"
    assert live.link.closed is None


async def test_a_call_whose_stream_is_over_takes_no_command(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime)
    live.call.session.close("Plivo stopped it")
    delivery = await obey(runtime, "clear")
    assert delivery.status == "refused"
    assert "Plivo stopped it" in delivery.detail


async def test_of_two_streams_of_a_call_the_one_that_is_meant_must_be_named(
    start_runtime: Start,
) -> None:
    runtime = await start_runtime(Route(hold))
    live = [Live(runtime), Live(runtime, stream_id="stream-2")]
    await turns()
    delivery = await obey(runtime, "clear")
    assert delivery.status == "refused"
    assert {"stream-1", "stream-2"} <= set(delivery.hint.replace(",", "").split())
    assert (await obey(runtime, "clear", "stream-2")).status == "done"
    assert (await obey(runtime, "hangup")).status == "done"
    assert [each.link.closed is None for each in live].count(False) == 1


# Transferring


async def test_without_an_account_no_call_can_be_transferred(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime)
    delivery = await obey(runtime, "transfer", url=URL)
    assert delivery.status == "unable"
    assert "MEDIASERVER_AUTH_ID" in delivery.hint
    assert live.link.closed is None


class Transfers:
    """Transfers calls, or fails to."""

    def __init__(self, error: CallControlError | None = None) -> None:
        self._error = error
        self.urls: list[str] = []

    async def hang_up(self, stream: Any) -> None:
        raise AssertionError("not called")

    async def transfer(self, stream: Any, url: str) -> None:
        if self._error is not None:
            raise self._error
        self.urls.append(url)
        stream.close()


async def test_a_call_is_transferred(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    runtime.call_control = control = Transfers()
    live = Live(runtime)
    assert (await obey(runtime, "transfer", url=URL)).status == "done"
    assert control.urls == [URL]
    assert live.link.closed == (1000, "transferred by an operator")


def gone() -> CallControlError:
    error = CallControlError("it is over")
    error.__cause__ = NotFoundError("no such call", status=404)
    return error


@pytest.mark.parametrize(
    ("error", "status"), [(CallControlError("Plivo is down"), "failed"), (gone(), "refused")]
)
async def test_a_transfer_that_plivo_refuses_leaves_the_call(
    start_runtime: Start, error: CallControlError, status: str
) -> None:
    runtime = await start_runtime(Route(hold))
    runtime.call_control = Transfers(error)
    live = Live(runtime)
    delivery = await obey(runtime, "transfer", url=URL)
    assert (delivery.status, delivery.detail) == (status, str(error))
    assert live.call.state == "live"


# Saying


async def test_a_handler_without_the_hook_cannot_say(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    Live(runtime)
    delivery = await obey(runtime, "say", text="Hello.")
    assert delivery.status == "unable"
    assert "hold" in delivery.detail
    assert "on_say" in delivery.hint


async def test_a_handler_says_a_text_in_its_turn(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(Speaking))
    Live(runtime)
    await turns()
    assert (await obey(runtime, "say", text="Hello.")).status == "begun"
    assert not Speaking.said
    Speaking.may_say.set()
    await turns()
    assert Speaking.said == ["Hello."]
    assert (await obey(runtime, "say", text="Again.")).status == "done"
    assert Speaking.said == ["Hello.", "Again."]


async def test_a_handler_function_says_by_what_it_gave_the_stream(start_runtime: Start) -> None:
    said = []

    async def handle(stream: Any) -> None:
        async def say(text: str) -> None:
            said.append(text)

        stream.on_say = say
        await hold(stream)

    runtime = await start_runtime(Route(handle))
    Live(runtime)
    await turns()
    assert (await obey(runtime, "say", text="Hello.")).status == "done"
    assert said == ["Hello."]


async def test_few_texts_wait_to_be_said(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(Speaking))
    Live(runtime)
    await turns()
    operator = CallOperator(runtime)
    command = CallCommand("say", "call-1", text="Hello.")
    for _ in range(MOST_SAYING):
        assert (await operator.obey(command)).status == "begun"
    assert (await operator.obey(command)).status == "too_many"
    Speaking.may_say.set()
    await turns()
    assert len(Speaking.said) == MOST_SAYING
    assert (await operator.obey(command)).status == "done"


async def test_what_waits_to_be_said_is_dropped_when_the_call_is_over(
    start_runtime: Start,
) -> None:
    runtime = await start_runtime(Route(Speaking))
    live = Live(runtime)
    await turns()
    assert (await obey(runtime, "say", text="Hello.")).status == "begun"
    stream = live.stream
    live.call.lost("")
    await turns(20)
    Speaking.may_say.set()
    await turns()
    assert not Speaking.said
    assert stream.on_say is None
    assert not runtime.calls


async def test_a_hook_that_raises_harms_no_call(start_runtime: Start) -> None:
    class Broken(Handler):
        async def on_say(self, text: str) -> None:
            raise LookupError("a bug")

        async def on_clear(self) -> None:
            raise SystemExit(3)

    runtime = await start_runtime(Route(Broken))
    live = Live(runtime)
    await turns()
    with capture_logs() as logged:
        delivery = await obey(runtime, "say", text="Hello.")
        assert (delivery.status, delivery.detail) == (
            "failed",
            "the handler raised LookupError: a bug",
        )
        assert (await obey(runtime, "clear")).status == "failed"
    assert [(each["event"], each["call"]) for each in logged] == [("handler failed", "call-1")] * 2
    assert runtime.counters.handler_errors == 2
    assert live.call.state == "live"


async def test_a_hook_that_finds_the_stream_ended_did_not_fail(start_runtime: Start) -> None:
    class Late(Handler):
        async def on_say(self, text: str) -> None:
            self.stream.close()
            await self.stream.play(bytes(160))

    runtime = await start_runtime(Route(Late))
    Live(runtime)
    await turns()
    assert (await obey(runtime, "say", text="Hello.")).status == "refused"
    assert not runtime.counters.handler_errors


# Clearing


async def test_clearing_takes_back_what_was_not_heard(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime)
    await turns()
    await live.stream.play(bytes(8_000))
    delivery = await obey(runtime, "clear")
    assert delivery == Delivery("done", "1.00 s of audio were taken back")
    assert live.stream.unheard == 0


async def test_an_agent_that_is_cleared_gives_up_what_it_was_saying(start_runtime: Start) -> None:
    class Agent(VoiceAgent):
        speech_to_text = TimedTranscription("")
        text_to_speech = TimedSpeech()
        language_model = TimedModel("")
        voice_detector = LevelDetector
        greeting = "Hello, and welcome to a long greeting."

    runtime = await start_runtime(Route(Agent))
    live = Live(runtime)
    await asyncio.sleep(1)
    assert live.stream.unheard
    assert (await obey(runtime, "clear")).status == "done"
    await asyncio.sleep(1)
    assert live.stream.unheard == 0
    assert (await obey(runtime, "say", text="One moment.")).status == "begun"
    await asyncio.sleep(0.5)
    assert live.stream.unheard


async def test_a_handler_that_takes_long_to_clear_is_not_waited_for(start_runtime: Start) -> None:
    class Slow(Handler):
        async def on_clear(self) -> None:
            await asyncio.Event().wait()

    runtime = await start_runtime(Route(Slow))
    Live(runtime)
    await turns()
    assert (await obey(runtime, "clear")).status == "begun"
