import asyncio
import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWords,
    RecognizerEvent,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.assemblyai.account import AssemblyAIAccount
from mediaserver.agents.services.assemblyai.recognizer import (
    AssemblyAIRecognizer,
    AssemblyAISession,
    assemblyai_format,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time
from mediaserver.testing.assemblyai import AssemblyAIServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.hearing import hear, signs, spoken, texts, until


STREAMING = "universal-streaming-english"


def ears(server: AssemblyAIServer, **options: Any) -> AssemblyAIRecognizer:
    return AssemblyAIRecognizer(base_url=server.base_url, api_key=server.api_key, **options)


def words(events: list[RecognizerEvent], *, final: bool) -> list[RecognizedWords]:
    return [e for e in events if isinstance(e, RecognizedWords) and e.final is final]


def turn(transcript: str, utterance: str, *, end: bool) -> str:
    message = {
        "type": "Turn",
        "turn_order": 0,
        "turn_is_formatted": False,
        "end_of_turn": end,
        "transcript": transcript,
        "utterance": utterance,
        "words": [],
    }
    return json.dumps(message)


@in_virtual_time
async def test_a_turn_begins_has_words_and_ends() -> None:
    async with AssemblyAIServer("I want a table.").running() as server:
        session = await ears(server).listen(MULAW_8K)
        assert (session.takes_turns, session.continuous) == (True, True)
        await hear(session, [*spoken(0, 0.5), *spoken(4, 1.0)])
        came = await until(session.events(), CallerFinished)
        await session.close()
    assert signs(came) == [CallerSpeaks, CallerFinished]
    assert texts(came, final=False) == ["I"]
    (final,) = words(came, final=True)
    assert final.text == "I want a table."
    assert final.start == final.words[0].start == pytest.approx(0.5, abs=0.03)
    assert final.end == final.words[-1].end == pytest.approx(1.7, abs=0.1)
    assert final.seconds == pytest.approx(2.64, abs=0.1)  # all audio that was sent


@in_virtual_time
async def test_universal_streaming_tells_each_word_and_may_have_finished() -> None:
    async with AssemblyAIServer("One two three.").running() as server:
        session = await ears(server, model=STREAMING).listen(MULAW_8K)
        await hear(session, spoken(3, 1.0))
        came = await until(session.events(), CallerFinished)
        await session.close()
    assert signs(came) == [CallerSpeaks, CallerMayHaveFinished, CallerFinished]
    assert texts(came, final=False) == ["one", "one two", "one two three"]
    assert texts(came, final=True) == ["one two three"]


@in_virtual_time
async def test_more_words_after_an_utterance_say_that_the_caller_goes_on() -> None:
    async with AssemblyAIServer().running() as server:
        session = await ears(server, model=STREAMING).listen(MULAW_8K)
        came = [
            event
            for transcript, utterance, end in (
                ("one", "", False),
                ("one", "one", False),
                ("one", "one", False),
                ("one two", "", False),
                ("one two", "", True),
            )
            for event in session.understood(turn(transcript, utterance, end=end))
        ]
        await session.close()
    assert signs(came) == [CallerSpeaks, CallerMayHaveFinished, CallerGoesOn, CallerFinished]


@in_virtual_time
async def test_a_turn_that_is_formatted_is_told_once() -> None:
    async with AssemblyAIServer("One.", "Two.").running() as server:
        session = await ears(server, model=STREAMING, format_turns=True).listen(MULAW_8K)
        await hear(session, [*spoken(1, 1.0), *spoken(1, 1.0)])
        events = session.events()
        came = [*await until(events, CallerFinished), *await until(events, CallerFinished)]
        await session.close()
    assert texts(came, final=True) == ["One.", "Two."]


@in_virtual_time
async def test_a_turn_that_is_never_formatted_ends_with_what_it_has() -> None:
    # Begin, one interim, the pause, and the unformatted end.
    fault = SocketFault(after=4, then="stall")
    async with AssemblyAIServer("One two.", faults=(fault,)).running() as server:
        session = await ears(server, model=STREAMING, format_turns=True).listen(MULAW_8K)
        await hear(session, spoken(2, 1.0))
        await session.finish()
        came = await until(session.events(), WordsComplete)
        await session.close()
    assert texts(came, final=True) == ["one two"]
    assert signs(came)[-2:] == [CallerFinished, WordsComplete]


@st.composite
def turns_told(draw: st.DrawFn) -> list[str]:
    """Return messages about turns whose numbers never go down, as AssemblyAI may send them."""
    order = 0
    messages = []
    for _ in range(draw(st.integers(1, 12))):
        order += draw(st.integers(0, 1))
        if draw(st.integers(0, 4)) == 0:
            messages.append('{"type":"SpeechStarted","timestamp":1}')
            continue
        message = {
            "type": "Turn",
            "turn_order": order,
            "turn_is_formatted": draw(st.booleans()),
            "end_of_turn": draw(st.booleans()),
            "transcript": draw(st.sampled_from(["", "one", "one two"])),
            "utterance": draw(st.sampled_from(["", "one"])),
            "words": [
                {
                    "text": "two",
                    "start": 100 * order,
                    "end": 90,
                    "word_is_final": draw(st.booleans()),
                }
                for _ in range(draw(st.integers(0, 2)))
            ],
        }
        messages.append(json.dumps(message))
    return messages


@given(messages=turns_told(), formatted=st.booleans())
@in_virtual_time
async def test_turns_are_in_order_whatever_is_told_of_them(
    messages: list[str], formatted: bool
) -> None:
    session = AssemblyAISession(
        AssemblyAIAccount("ears", api_key="key"),
        cast(ServiceSocket, SimpleNamespace(decoding=lambda _: nullcontext())),
        MULAW_8K,
        model=STREAMING,
        formatted=formatted,
        expires_after=600,
    )
    speaks = may = ended = False
    for event in [event for message in messages for event in session.understood(message)]:
        if isinstance(event, CallerSpeaks):
            assert not speaks
            speaks = True
        elif isinstance(event, CallerMayHaveFinished):
            assert (speaks, may) == (True, False)
            may = True
        elif isinstance(event, CallerGoesOn):
            assert may
            may = False
        elif isinstance(event, CallerFinished):
            assert (speaks, ended) == (True, True)
            speaks = may = ended = False
        else:
            assert isinstance(event, RecognizedWords)
            assert event.start <= event.end
            assert not ended
            ended = event.final


@in_virtual_time
async def test_each_second_is_charged_for_once() -> None:
    async with AssemblyAIServer("One.", "Two.").running() as server:
        session = await ears(server).listen(MULAW_8K)
        await hear(session, [*spoken(1, 1.0), *spoken(1, 1.0)])
        events = session.events()
        came = [*await until(events, CallerFinished), *await until(events, CallerFinished)]
        await session.close()
    assert sum(each.seconds for each in words(came, final=True)) == session.heard


@in_virtual_time
async def test_finish_ends_the_turn_at_once_and_says_when_all_words_were_told() -> None:
    async with AssemblyAIServer("Yes").running() as server:
        session = await ears(server, max_turn_silence=30).listen(MULAW_8K)
        await hear(session, spoken(1, 0.3))
        await session.finish()
        came = await until(session.events(), WordsComplete)
        await session.close()
    assert signs(came) == [CallerSpeaks, CallerFinished, WordsComplete]
    assert isinstance(came[-1], WordsComplete)
    assert came[-1].through == pytest.approx(0.6, abs=0.05)
    assert {"type": "ForceEndpoint"} in server.received


@in_virtual_time
async def test_finish_without_a_turn_is_answered_as_well() -> None:
    async with AssemblyAIServer().running() as server:
        session = await ears(server).listen(MULAW_8K)
        await hear(session, spoken(0, 0.3))
        await session.finish()
        async with asyncio.timeout(1):
            assert signs(await until(session.events(), WordsComplete)) == [WordsComplete]
        await session.close()


@pytest.mark.parametrize("milliseconds", [1, 10, 20, 30, 130, 500, 3000])
@in_virtual_time
async def test_messages_have_50_to_1000_ms_whatever_the_frames_have(milliseconds: int) -> None:
    async with AssemblyAIServer("Yes.").running() as server:
        session = await ears(server).listen(MULAW_8K)
        audio = b"".join(frame.payload for frame in spoken(1, 2.7))
        size = 8 * milliseconds
        for at in range(0, len(audio), size):
            await session.hear(Frame(audio[at : at + size], MULAW_8K))
        await session.finish()
        await until(session.events(), WordsComplete)
        await session.close()
    assert server.refusals == []
    assert 400 <= min(server.sizes) <= max(server.sizes) <= 8000
    assert len(audio) - 400 < sum(server.sizes) <= len(audio)


@in_virtual_time
async def test_a_session_expires_when_assemblyai_says() -> None:
    async with AssemblyAIServer(session_seconds=600).running() as server:
        session = await ears(server).listen(MULAW_8K)
        assert session.expires_after == pytest.approx(600, abs=10)
        with pytest.raises(ServiceError, match=r"Maximum session duration exceeded \(3008\)"):
            await until(session.events(), CallerFinished)
        await session.close()


@in_virtual_time
async def test_a_time_of_expiry_that_cannot_be_right_is_not_believed() -> None:
    async with AssemblyAIServer(session_seconds=1e6).running() as server:
        session = await ears(server).listen(MULAW_8K)
        assert session.expires_after == 3 * 3600
        await session.close()


@in_virtual_time
async def test_a_slow_answer_is_waited_for_while_a_turn_is_open() -> None:
    async with AssemblyAIServer("Yes.", faults=(SocketFault(delay=1.5),)).running() as server:
        session = await ears(server, max_turn_silence=30).listen(MULAW_8K)
        events = session.events()
        await hear(session, spoken(1, 0.0))
        came = await until(events, CallerSpeaks)
        await session.finish()
        came += await until(events, WordsComplete)
        await session.close()
    assert texts(came, final=True) == ["Yes."]


@in_virtual_time
async def test_settings_can_change_while_the_session_is_open() -> None:
    async with AssemblyAIServer("I want", "I want").running() as server:
        session = await ears(server, max_turn_silence=30).listen(MULAW_8K)
        await session.update(max_turn_silence=0.3, keyterms=["Plivo"], agent_context="And?")
        await session.update()
        await hear(session, spoken(2, 0.6))
        await until(session.events(), CallerFinished)
        with pytest.raises(ValueError, match="keyterms must be a list"):
            await session.update(keyterms="Plivo")
        await session.close()
    assert server.received[0] == {
        "type": "UpdateConfiguration",
        "max_turn_silence": 300,
        "keyterms_prompt": ["Plivo"],
        "agent_context": "And?",
    }
    assert len([each for each in server.received if each["type"] == "UpdateConfiguration"]) == 1


@in_virtual_time
async def test_a_session_is_ended_when_it_is_closed() -> None:
    async with AssemblyAIServer().running() as server:
        session = await ears(server).listen(MULAW_8K)
        await session.close()
        assert [event async for event in session.events()] == []
    assert server.received == [{"type": "Terminate"}]


@in_virtual_time
async def test_every_setting_is_one_that_assemblyai_has() -> None:
    async with AssemblyAIServer().running() as server:
        shared: dict[str, Any] = {
            "keyterms": ["Plivo", "a b"],
            "min_turn_silence": 0.2,
            "max_turn_silence": 2,
            "vad_threshold": 0.5,
            "filter_profanity": True,
        }
        for more in (
            {"language_codes": ["en", "es"], "interruption_delay": 0.3, "mode": "min_latency"},
            {"prompt": "A clinic.", "extra": {"voice_focus": "near-field"}},
            {"model": STREAMING, "format_turns": True, "end_of_turn_confidence_threshold": 0.7},
        ):
            await (await ears(server, **shared, **more).listen(MULAW_8K)).close()
        await ears(server).check()
    assert server.refusals == []
    assert server.queries[0] == {
        "speech_model": "universal-3-5-pro",
        "keyterms_prompt": '["Plivo","a b"]',
        "min_turn_silence": "200",
        "max_turn_silence": "2000",
        "vad_threshold": "0.5",
        "filter_profanity": "true",
        "language_codes": '["en","es"]',
        "interruption_delay": "300",
        "mode": "min_latency",
        "encoding": "pcm_mulaw",
        "sample_rate": "8000",
    }


@pytest.mark.parametrize(
    "refused",
    [
        {"model": ""},
        {"mode": "fast"},
        {"language_codes": "en"},
        {"language_codes": ["e n"]},
        {"interruption_delay": 300},
        {"format_turns": True},
        {"end_of_turn_confidence_threshold": 0.5},
        {"model": STREAMING, "mode": "balanced"},
        {"model": STREAMING, "prompt": "A clinic."},
        {"keyterms": "Plivo"},
        {"base_url": "streaming.assemblyai.com"},
        {"connect_timeout": 0},
    ],
)
def test_a_setting_that_assemblyai_does_not_take_is_refused_at_once(
    refused: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"not|must"):
        AssemblyAIRecognizer(**refused)


def test_only_what_assemblyai_does_not_take_is_converted() -> None:
    for format in (MULAW_8K, L16_16K, AudioFormat("l16", 8000)):
        assert assemblyai_format(format) is format
    assert assemblyai_format(AudioFormat("alaw", 8000)) == AudioFormat("l16", 8000)
    assert assemblyai_format(AudioFormat("l16", 96000)) == L16_16K
