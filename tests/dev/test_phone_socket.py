from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mediaserver.dev.phone_messages import PhoneRequestError
from mediaserver.protocol import Dtmf
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.webhooks import Target
from mediaserver.stream import Stream
from tests.dev.page import AGENT, CALLER, Neighbourhood, Page, tone, with_phones


async def call_of(page: Page, **fields: Any) -> dict[str, Any]:
    """Dial, and wait until the agent hears the person."""
    page.do("dial", to=AGENT, **fields)
    return await page.told("measured", "stream opened")


def test_a_page_is_told_what_it_may_ask_for() -> None:
    async def scenario(town: Neighbourhood) -> dict[str, Any]:
        return await town.page().told("ready")

    ready = with_phones(scenario)

    assert {"street", "hold music", "crackle"} <= set(ready["noises"])
    assert ready["troubles"] == {
        "jitter": 0,
        "loss": 0,
        "noise": "",
        "noise_level": -35,
        "silent": False,
    }


def test_a_call_is_dialled_answered_and_hung_up() -> None:
    async def scenario(town: Neighbourhood) -> list[dict[str, Any]]:
        page = town.page()
        await call_of(page, from_=CALLER, name="Ada")
        call = next(iter(town.exchange.calls.values()))
        assert (call.record.from_number, call.record.caller_name) == (CALLER, "Ada")
        page.do("hangup")
        await page.told("ended")
        return page.messages

    messages = with_phones(scenario)

    told = [each for each in messages if each["what"] not in ("ready", "measured")]
    assert [each["what"] for each in told] == ["ringing", "answered", "ended"]
    assert len({each["call"] for each in told}) == 1
    assert (told[0]["from"], told[0]["to"]) == (CALLER, AGENT)
    assert (told[2]["cause"], told[2]["code"], told[2]["by"]) == ("Normal Hangup", 4000, "Caller")


def test_what_is_said_comes_back_from_an_echo_soon() -> None:
    async def scenario(town: Neighbourhood) -> tuple[float, list[float]]:
        page = town.page()
        await call_of(page)
        await asyncio.sleep(0.507)
        began = await page.say(tone(1.0))
        await asyncio.sleep(1)
        return began, page.heard()

    began, heard = with_phones(scenario)

    # Up to 20 ms until the line's next frame, and 20 ms until the carrier plays its next frame.
    assert heard[0] - began <= 0.041
    assert heard[-1] - heard[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    "format", ["", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000", "audio/x-l16;rate=24000"]
)
def test_the_page_chooses_the_format_of_the_stream(format: str) -> None:
    async def scenario(town: Neighbourhood) -> tuple[str, list[str], list[float]]:
        page = town.page()
        opened = await call_of(page, format=format)
        await page.say(tone(0.5))
        await asyncio.sleep(0.5)
        return opened["text"], town.formats, page.heard()

    text, formats, heard = with_phones(scenario)

    assert formats == [format]
    assert text.endswith(format or "audio/x-mulaw;rate=8000")
    assert len(heard) in range(22, 29)


def test_audio_comes_without_a_break_while_the_call_is_up() -> None:
    async def scenario(town: Neighbourhood) -> list[float]:
        page = town.page()
        await call_of(page)
        await asyncio.sleep(2)
        page.do("hangup")
        await page.told("ended")
        await asyncio.sleep(1)
        return [time for time, _ in page.frames]

    times = with_phones(scenario)

    assert np.diff(times) == pytest.approx(0.02)
    assert times[-1] - times[0] == pytest.approx(2, abs=0.05)


def test_a_call_of_the_application_rings_and_is_answered_by_the_person() -> None:
    async def scenario(town: Neighbourhood) -> Page:
        page = town.page()
        await page.told("ready")
        page.do("call me", to=CALLER, from_=AGENT, name="The agent", format="")
        incoming = await page.told("incoming")
        assert (incoming["from"], incoming["to"], incoming["name"]) == (AGENT, CALLER, "The agent")
        await asyncio.sleep(7)
        assert not page.all_told("answered")
        page.do("answer")
        await page.told("measured", "stream opened")
        await page.say(tone(0.5))
        page.do("hangup")
        ended = await page.told("ended")
        assert ended["by"] == "Callee"
        return page

    page = with_phones(scenario)

    assert page.heard()
    assert [each["kind"] for each in page.all_told("measured")][:3] == [
        "call placed",
        "call rings",
        "call answered",
    ]


def test_until_the_call_that_was_asked_for_rings_there_is_no_other() -> None:
    async def scenario(town: Neighbourhood) -> Page:
        page = town.page()
        for what in ("call me", "call me", "dial"):
            page.do(what, to=CALLER if what == "call me" else AGENT, from_=AGENT)
        await page.told("incoming")
        page.do("answer")
        await page.told("answered")
        return page

    page = with_phones(scenario)

    assert [each["error"] for each in page.all_told("error")] == [
        "a call to this phone is on its way: it rings in a moment"
    ] * 2
    assert len(page.all_told("incoming")) == 1


def test_a_call_that_was_asked_for_can_be_given_up_before_it_rings() -> None:
    async def scenario(town: Neighbourhood) -> list[str]:
        page = town.page()
        page.do("call me", to=CALLER, from_=AGENT)
        page.do("hangup")
        await page.told("error")
        await call_of(page)
        return [each["error"] for each in page.all_told("error")]

    assert with_phones(scenario) == ["the call ended before it rang: Canceled"]


@pytest.mark.parametrize("what", ["reject", "hangup"])
def test_a_call_that_rings_can_be_declined(what: str) -> None:
    async def scenario(town: Neighbourhood) -> dict[str, Any]:
        page = town.page()
        page.do("call me", to=CALLER, from_=AGENT)
        await page.told("incoming")
        page.do(what)
        return await page.told("ended")

    ended = with_phones(scenario)

    assert (ended["cause"], ended["code"]) == ("Rejected", 3020)


def test_a_call_that_nobody_answers_ends() -> None:
    def plan(_format: str, _path: str) -> CallPlan:
        return CallPlan(None, ring_timeout=20)

    async def scenario(town: Neighbourhood) -> tuple[dict[str, Any], dict[str, Any]]:
        page = town.page()
        page.do("call me", to=CALLER, from_=AGENT)
        ended = await page.told("ended")
        page.do("answer")
        return ended, await page.told("error")

    ended, error = with_phones(scenario, plan=plan)

    assert ended["cause"] == "Ring Timeout Reached"
    assert error["error"] == "no call rings that could be answered or rejected"


def test_a_phone_in_a_call_is_busy_and_so_is_one_whose_page_is_closed() -> None:
    async def scenario(town: Neighbourhood) -> list[str | None]:
        page = town.page()
        await call_of(page)
        busy = await town.exchange.call(CALLER, caller=AGENT, plan=CallPlan(None))
        await busy.wait_ended()
        await page.leave()
        away = await town.exchange.call(CALLER, caller=AGENT, plan=CallPlan(None))
        await away.wait_ended()
        return [busy.record.status, away.record.status]

    assert with_phones(scenario) == ["busy", "busy"]


def test_of_several_pages_the_one_used_last_rings() -> None:
    async def scenario(town: Neighbourhood) -> list[int]:
        one, other = town.page(), town.page()
        await asyncio.gather(one.told("ready"), other.told("ready"))
        one.do("troubles", silent=False)
        await one.told("troubles")
        await town.exchange.call(CALLER, caller=AGENT, plan=CallPlan(None))
        await one.told("incoming")
        return [len(page.all_told("incoming")) for page in (one, other)]

    assert with_phones(scenario) == [1, 0]


def test_a_page_that_is_closed_hangs_up() -> None:
    async def scenario(town: Neighbourhood) -> dict[str, Any]:
        page = town.page()
        await call_of(page)
        call = next(iter(town.exchange.calls.values()))
        await page.leave()
        hangup = await call.wait_ended()
        return {"cause": hangup.cause.name, "by": hangup.source.value}

    assert with_phones(scenario) == {"cause": "Normal Hangup", "by": "Caller"}


def test_on_hold_neither_side_hears_the_other() -> None:
    async def scenario(town: Neighbourhood) -> tuple[Page, float, float]:
        page = town.page()
        await call_of(page)
        page.do("hold", on=True)
        assert (await page.told("held"))["on"] is True
        held = await page.say(tone(1.0))
        await asyncio.sleep(1)
        page.do("hold", on=False)
        assert (await page.told("held", count=2))["on"] is False
        back = await page.say(tone(0.5))
        await asyncio.sleep(0.5)
        return page, held, back

    page, held, back = with_phones(scenario)

    heard = page.heard()
    assert [time for time in heard if held <= time < back] == []
    assert len(heard) in range(20, 30)


def test_keys_reach_the_agent() -> None:
    pressed: list[str] = []

    async def handler(stream: Stream) -> None:
        pressed.extend([each.digit async for each in stream.controls() if isinstance(each, Dtmf)])

    async def scenario(town: Neighbourhood) -> None:
        page = town.page()
        await call_of(page)
        page.do("digit", digit="1")
        page.do("digit", digit="2#")
        await page.told("measured", "key pressed", count=3)
        await asyncio.sleep(0.1)

    with_phones(scenario, handler=handler)

    assert pressed == ["1", "2", "#"]


def test_troubles_are_kept_for_the_calls_to_come() -> None:
    async def scenario(town: Neighbourhood) -> Page:
        page = town.page()
        page.do("troubles", noise="hiss", noise_level=-30, silent=True, jitter=0.05)
        told = await page.told("troubles")
        assert (told["noise"], told["noise_level"], told["silent"]) == ("hiss", -30, True)
        await call_of(page)
        await asyncio.sleep(1)
        page.do("troubles", noise="")
        told = await page.told("troubles", count=2)
        assert (told["noise"], told["silent"], told["jitter"]) == ("", True, 0.05)
        await asyncio.sleep(1)
        page.frames.clear()
        await page.say(tone(0.5))
        await asyncio.sleep(0.5)
        return page

    page = with_phones(scenario)

    assert page.heard() == [], "a silent caller's voice is not heard"
    spoke = page.all_told("measured", "caller speaks")
    assert len(spoke) == 1, "the noise was heard"


def test_the_voice_goes_on_while_a_noise_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def made_slowly(make: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(1)
        return make(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", made_slowly)

    async def scenario(town: Neighbourhood) -> Page:
        page = town.page()
        await call_of(page)
        page.do("troubles", noise="hiss", noise_level=-60)
        page.do("troubles", noise="hum", noise_level=-60)
        page.do("troubles", noise="")
        await page.say(tone(2))
        await asyncio.sleep(0.5)
        page.do("hangup")
        await page.told("ended")
        return page

    page = with_phones(scenario)

    assert len(page.heard()) in range(99, 103)
    assert page.heard()[-1] - page.heard()[0] < 2.05
    loudest = [np.abs(frame).max() for time, frame in page.frames[-15:]]
    assert max(loudest) == 0, "the noise that was asked for last is none"


def test_a_stall_is_heard_as_a_gap_or_a_pause() -> None:
    async def scenario(town: Neighbourhood) -> dict[str, Any]:
        page = town.page()
        await call_of(page)
        saying = asyncio.create_task(page.say(tone(4)))
        await asyncio.sleep(1)
        page.do("stall", seconds=0.3)
        await saying
        page.do("hangup")
        return await page.told("measured", "heard")

    measured = with_phones(scenario)

    gaps = [seconds for _, seconds in measured["gaps"]]
    assert max(gaps) == pytest.approx(0.3, abs=0.05)


def test_what_was_heard_is_told_at_the_end_of_the_stream() -> None:
    async def handler(stream: Stream) -> None:
        await stream.play(b"\x00" * 8_000)
        stream.checkpoint("said")
        async for _ in stream.audio("inbound"):
            pass

    async def scenario(town: Neighbourhood) -> Page:
        page = town.page()
        await call_of(page)
        await page.told("measured", "checkpoint played")
        page.do("hangup")
        await page.told("measured", "heard")
        return page

    page = with_phones(scenario, handler=handler)

    heard = page.all_told("measured", "heard")[0]
    (spell,) = heard["spells"]
    (checkpoint,) = heard["checkpoints"]
    assert spell[1] - spell[0] == pytest.approx(1, abs=0.02)
    assert checkpoint["played"] == pytest.approx(spell[1], abs=0.04)
    assert checkpoint["name"]
    spoke, played = (
        page.all_told("measured", kind)[0] for kind in ("agent speaks", "checkpoint played")
    )
    assert spoke["at"] == pytest.approx(spell[0], abs=0.04)
    assert played["at"] == pytest.approx(checkpoint["played"], abs=0.04)
    assert spoke["stream"] == heard["stream"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"do": "answer"}, "no call rings"),
        ({"do": "hangup"}, "has no call: dial a number first"),
        ({"do": "hold", "on": True}, "has no call"),
        ({"do": "digit", "digit": "5"}, "has no call"),
        ({"do": "stall", "seconds": 1}, "has no call"),
        ({"do": "dial", "to": "home"}, "must be a phone number such as"),
        ({"do": "troubles", "noise": "rain"}, "there is no noise 'rain'; allowed: coughing"),
        ({"do": "troubles", "jitter": 3, "silent": True}, "jitter is 0 to 2 seconds, not 3"),
        ({"do": "sing"}, "no request"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    request_: dict[str, Any], error: str
) -> None:
    async def scenario(town: Neighbourhood) -> tuple[str, dict[str, Any]]:
        page = town.page()
        page.do(**{"what" if name == "do" else name: each for name, each in request_.items()})
        text = (await page.told("error"))["error"]
        page.do("troubles")
        return text, await page.told("troubles")

    text, troubles = with_phones(scenario)

    assert error in text
    assert not troubles["silent"]


def test_in_a_call_errors_harm_nothing() -> None:
    async def scenario(town: Neighbourhood) -> list[str]:
        page = town.page()
        await call_of(page)
        page.do("dial", to=AGENT)
        page.do("call me", to=CALLER, from_=AGENT)
        page.do("digit", digit="x")
        page.do("stall", seconds=0)
        page.send(b"odd")
        page.send(bytes(7_000))
        await page.told("error", count=6)
        await page.say(tone(0.5))
        await asyncio.sleep(0.5)
        assert page.heard()
        return [each["error"] for each in page.all_told("error")]

    errors = with_phones(scenario)

    assert errors[:2] == ["this phone has a call: hang up first"] * 2
    assert "0-9, *, # and A-D" in errors[2]
    assert "at most 60 seconds" in errors[3]
    assert "not 3 bytes" in errors[4]
    assert "at most 0.2 s in a message (6400 bytes)" in errors[5]


def test_why_there_can_be_no_call_is_told_and_the_phone_is_free_again() -> None:
    reasons: list[Exception] = [PhoneRequestError("the agent does not run"), ValueError("no mp3")]

    def plan(_format: str, _path: str) -> CallPlan:
        raise reasons.pop(0)

    async def scenario(town: Neighbourhood) -> list[str]:
        page = town.page()
        page.do("dial", to=AGENT)
        page.do("dial", to=AGENT, format="mp3")
        await page.told("error", count=2)
        return [each["error"] for each in page.all_told("error")]

    assert with_phones(scenario, plan=plan) == ["the agent does not run", "no mp3"]


REJECTED = '<Response><Hangup reason="rejected"/></Response>'


async def why(called: str, path: str) -> str:
    return f"nobody takes {called} at {path}"


@pytest.mark.parametrize("asks", ["dial", "call me"])
def test_why_no_handler_took_a_call_is_told(asks: str) -> None:
    async def scenario(town: Neighbourhood) -> str:
        page = town.page()
        page.do(asks, to=AGENT, from_=CALLER, path="/no")
        if asks == "call me":
            await page.told("incoming")
            page.do("answer")
        reason: str = (await page.told("ended"))["why"]
        return reason

    told = with_phones(scenario, answer_xml=REJECTED, why=why)
    assert told == f"nobody takes {AGENT} at /no"


def test_a_call_that_the_application_places_may_end_as_it_likes() -> None:
    async def scenario(town: Neighbourhood) -> str:
        page = town.page()
        await page.told("ready")
        plan = CallPlan(Target("http://agent.test/answer"))
        await town.exchange.call(CALLER, caller=AGENT, plan=plan)
        await page.told("incoming")
        page.do("answer")
        reason: str = (await page.told("ended"))["why"]
        return reason

    assert with_phones(scenario, answer_xml=REJECTED, why=why) == ""


def test_a_call_that_was_streamed_was_taken() -> None:
    async def scenario(town: Neighbourhood) -> str:
        page = town.page()
        page.do("dial", to=AGENT, path="/no")
        await page.told("measured", "stream opened")
        page.do("hangup")
        reason: str = (await page.told("ended"))["why"]
        return reason

    assert with_phones(scenario, why=why) == ""


def test_a_page_that_reads_slowly_hears_what_is_new() -> None:
    async def scenario(town: Neighbourhood) -> list[float]:
        page = town.page()
        await call_of(page)
        page.reads.clear()
        await asyncio.sleep(10)
        page.frames.clear()
        page.reads.set()
        await asyncio.sleep(0.001)
        return [time for time, _ in page.frames]

    times = with_phones(scenario)

    assert len(times) in range(48, 53)


def test_a_page_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.dev.phone_socket._TEXTS_WAITING", 10)

    async def scenario(town: Neighbourhood) -> Any:
        page = town.page()
        await page.told("ready")
        page.reads.clear()
        for _ in range(20):
            page.do("answer")
        async with asyncio.timeout(60):
            await page.serving
        return page.closed

    closed = with_phones(scenario)

    assert (closed["code"], closed["reason"]) == (1013, "the page does not read")
