"""Whole calls to agents of Gemini's services, over their protocols, in virtual time."""

import pytest

from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.gemini import (
    GeminiLiveServer,
    GeminiServer,
    GeminiToolCall,
    answers,
)
from mediaserver.testing.realtime_answers import RealtimeAnswer
from tests.agents.clerks import (
    HEARD,
    LONG,
    SPOKEN,
    LiveClerk,
    calling,
    check_turns,
    check_writing,
    converse,
)
from tests.agents.scripted_call import voice


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)


@pytest.mark.parametrize("playback", [False, True])
async def test_a_call_with_gemini_live(playback: bool) -> None:
    server = GeminiLiveServer(
        *SPOKEN,
        transcripts=HEARD,
        playback=playback,
    )
    async with server.running():
        model = GeminiLive(base_url=server.base_url, api_key=server.api_key)
        async with calling(LiveClerk, model=model) as (phone, agent):
            turns = await converse(phone, agent)
        await model.close()
    check_turns(turns)
    (note,) = server.of_type("text")
    assert "heard only the first" in note
    assert server.refusals == []


async def test_a_call_in_which_gemini_takes_the_turns() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="Hello there."),
        RealtimeAnswer(text="What can I do for you?"),
        RealtimeAnswer(text="Sales."),
        RealtimeAnswer(text=LONG),
        RealtimeAnswer(text="Sorry."),
        transcripts=["Hello?", "And in Oslo?", "Stop."],
        playback=True,
    )
    async with server.running():
        model = GeminiLive(
            base_url=server.base_url,
            api_key=server.api_key,
            turn_detection={"silenceDurationMs": 300},
        )
        async with calling(LiveClerk, model=model) as (phone, agent):
            turns = [await agent.turns.get()]
            phone.say(voice(0.6))
            turns.append(await agent.turns.get())
            phone.press("1#")
            turns.append(await agent.turns.get())
            phone.say(voice(0.6))
            begun = await phone.wait_for_audio(after=phone.time + 0.8)
            await phone.wait_until(begun + 1.0)
            phone.say(voice(0.6))
            turns.extend([await agent.turns.get(), await agent.turns.get()])
        await model.close()
    assert [turn.agent for turn in turns[:3]] == [
        "Hello there.",
        "What can I do for you?",
        "Sales.",
    ]
    assert turns[3].interrupted
    assert turns[4].caller == "Stop."
    assert turns[4].agent == "Sorry."
    assert ("user", "[pressed 1]") in server.sessions[0].turns
    assert not any(turn.error for turn in turns)
    assert server.refusals == []


async def test_a_call_goes_on_over_another_connection() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="Hello there."),
        RealtimeAnswer(text="What can I do for you?"),
        RealtimeAnswer(text="It rains in Rome."),
        RealtimeAnswer(text="Bye."),
        transcripts=["Hello?", "The weather in Rome?", "Thanks."],
    )
    async with server.running():
        model = GeminiLive(base_url=server.base_url, api_key=server.api_key)
        async with calling(LiveClerk, model=model) as (phone, agent):
            await agent.turns.get()
            phone.say(voice(0.6))
            await agent.turns.get()
            await server.sessions[0].go_away(10)
            await server.wait_for("setup", 2)
            phone.say(voice(0.6))
            await phone.wait_until(phone.time + 0.4)
            await server.sessions[1].drop()
            second = await agent.turns.get()
            phone.say(voice(0.6))
            third = await agent.turns.get()
        await model.close()
    assert (second.caller, second.agent) == ("The weather in Rome?", "It rains in Rome.")
    assert (third.caller, third.agent) == ("Thanks.", "Bye.")
    assert second.error is third.error is None
    assert len(server.sessions) == 3
    assert server.sessions[-1].turns[-6:-2] == [
        ("user", "Hello?"),
        ("model", "What can I do for you?"),
        ("user", "The weather in Rome?"),
        ("model", "It rains in Rome."),
    ]
    assert server.refusals == []


async def test_a_call_with_a_language_model_of_geminis() -> None:
    async with GeminiServer(signed=True) as server:
        server.generate.will(
            answers("What can I ", "do for you?"),
            answers(calls=[GeminiToolCall("weather", {"town": "Rome"}, signature="c2ln")]),
            answers("It rains in Rome."),
            answers(LONG),
            answers("Sorry."),
        )
        model = GeminiModel(base_url=server.base_url, api_key=server.api_key)
        await check_writing(model)
        assert server.refused == []
        first, *_, last = (each.params["contents"] for each in server.generate.received)
    assert [part["text"] for content in first for part in content["parts"]] == [
        "Hello there.",
        "Hello?",
    ]
    signed = [part for content in last for part in content["parts"] if "functionCall" in part]
    assert [part["thoughtSignature"] for part in signed] == ["c2ln"]
