import asyncio
from typing import Any, cast

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    MisconfiguredServiceError,
    RecognizedWords,
    RecognizerEvent,
    RecognizerSession,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.keep_alive import KeepAlives
from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer, SarvamSession
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.call import Frame
from mediaserver.testing import in_virtual_time
from mediaserver.testing.sarvam import SaarasServer
from tests.agents.services.hearing import spoken, texts


def recognizer(server: SaarasServer, language: str = "hi-IN", **settings: Any) -> SarvamRecognizer:
    return SarvamRecognizer(language, base_url=server.base_url, api_key=server.api_key, **settings)


async def hear(session: RecognizerSession, frames: list[Frame]) -> None:
    """Hear audio at the pace of a call."""
    for frame in frames:
        await asyncio.sleep(frame.seconds)
        await session.hear(frame)


async def listened(session: SarvamSession, *utterances: list[Frame]) -> list[RecognizerEvent]:
    """Return what is understood of utterances, and the session is closed."""
    events: list[RecognizerEvent] = []
    complete: asyncio.Queue[None] = asyncio.Queue()

    async def take() -> None:
        try:
            async for event in session.events():
                events.append(event)
                if isinstance(event, WordsComplete):
                    complete.put_nowait(None)
        finally:
            complete.put_nowait(None)

    taking = asyncio.create_task(take())
    for frames in utterances:
        await hear(session, frames)
        await session.finish()
        await complete.get()
    await session.close()
    await taking
    return events


def kinds(server: SaarasServer) -> list[str]:
    told = [message["event"] for message in server.received]
    return [kind for kind, before in zip(told, [None, *told], strict=False) if kind != before]


@in_virtual_time
async def test_an_utterance_is_told_while_it_is_spoken_and_when_it_has_ended() -> None:
    async with SaarasServer("I want a table.").running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        *interim, final, complete = await listened(session, spoken(4, 0.5))
    assert len(interim) > 2
    assert all(isinstance(each, RecognizedWords) and not each.final for each in interim)
    told = texts(interim, final=False)
    assert told == sorted(told, key=len)
    assert all("I want a table.".startswith(text) for text in told)
    assert final == RecognizedWords("I want a table.", 0.0, 1.7, final=True, seconds=1.7)
    assert complete == WordsComplete(1.7)
    assert kinds(server) == ["speech_start", "audio_input", "speech_end", "end"]
    assert server.refusals == []


@in_virtual_time
async def test_utterances_follow_each_other_on_a_connection() -> None:
    async with SaarasServer("One two.", "Three.").running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        events = await listened(session, spoken(2, 0.3), spoken(1, 0.3))
    finals = [each for each in events if isinstance(each, RecognizedWords) and each.final]
    assert [each.text for each in finals] == ["One two.", "Three."]
    assert [(each.start, each.end) for each in finals] == [
        (0.0, pytest.approx(0.9)),
        (pytest.approx(0.9), pytest.approx(1.5)),
    ]


@pytest.mark.parametrize(
    ("format", "encoding", "rate"),
    [
        (MULAW_8K, "mulaw", "8000"),
        (AudioFormat("alaw", 8000), "alaw", "8000"),
        (L16_8K, "linear16", "8000"),
        (L16_16K, "linear16", "16000"),
        (AudioFormat("l16", 24000), "linear16", "16000"),
    ],
)
@in_virtual_time
async def test_audio_is_sent_in_the_calls_format_if_sarvam_takes_it(
    format: AudioFormat, encoding: str, rate: str
) -> None:
    async with SaarasServer("Yes.").running() as server:
        session = await recognizer(server).listen(format)
        events = await listened(session, spoken(1, 0.3, format))
        (served,) = server.sessions
    assert (served.query["encoding"], served.query["sample_rate"]) == (encoding, rate)
    assert served.seconds == pytest.approx(0.6, abs=0.05)
    assert "Yes." in texts(events, final=True)


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with SaarasServer().running() as server:
        ears = recognizer(
            server,
            "od-IN",
            model="saaras:v4",
            mode="codemix",
            stream_type="balanced",
            prompt="A hotel.",
            keyterms=["Plivo", "New Delhi"],
        )
        await (await ears.listen(MULAW_8K)).close()
        assert server.sessions[0].query == {
            "language_code": "or-IN",
            "model": "saaras:v4",
            "mode": "codemix",
            "stream_type": "balanced",
            "endpointing": "manual",
            "prompt": "A hotel.",
            "keyterms": '["Plivo","New Delhi"]',
            "encoding": "mulaw",
            "sample_rate": "8000",
        }


@in_virtual_time
async def test_silence_costs_nothing_and_the_connection_is_kept() -> None:
    async with SaarasServer("Yes.").running() as server:
        session = await recognizer(server, "auto").listen(MULAW_8K)
        await asyncio.sleep(200)
        events = await listened(session, spoken(1, 0.3))
        (served,) = server.sessions
    assert isinstance(events[-1], WordsComplete)
    assert served.seconds == pytest.approx(0.6)
    assert sum(message["event"] == "ping" for message in server.received) == 12


@in_virtual_time
async def test_finish_is_answered_at_once_if_nothing_was_said() -> None:
    async with SaarasServer().running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        began = asyncio.get_running_loop().time()
        assert await listened(session, []) == [WordsComplete(0.0)]
        assert asyncio.get_running_loop().time() - began < 0.1
        assert kinds(server) == ["end"]


@in_virtual_time
async def test_an_utterance_without_words_that_sarvam_does_not_answer_is_complete_in_time() -> None:
    async with SaarasServer(answers_silence=False).running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        began = asyncio.get_running_loop().time()
        (complete,) = await listened(session, spoken(0, 1.0))
        assert complete == WordsComplete(1.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0, abs=0.1)


@in_virtual_time
async def test_interim_words_are_used_if_the_final_ones_do_not_come() -> None:
    async with SaarasServer("One two.", final_after=60.0).running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        *_, final, complete = await listened(session, spoken(4, 0.0))
        assert final == RecognizedWords("One two.", 0.0, 1.2, final=True, seconds=1.2)
        assert complete == WordsComplete(1.2)


@in_virtual_time
async def test_no_interim_words_come_if_they_are_simulated() -> None:
    async with SaarasServer("One two.", final_after=3.0).running() as server:
        session = await recognizer(server, stream_type="simulated").listen(MULAW_8K)
        final, _ = await listened(session, spoken(2, 0.3))
        assert final == RecognizedWords("One two.", 0.0, 0.9, final=True, seconds=0.9)


class Scripted(ServiceSocket):
    """A connection whose messages a test gives."""

    def __init__(self, *messages: str) -> None:
        super().__init__("sarvam", cast(Any, None), "host")
        self._messages = list(messages)

    async def send(self, message: bytes | str) -> None:
        pass

    async def receive(self) -> bytes | str:
        if not self._messages:
            await asyncio.get_running_loop().create_future()
        return self._messages.pop(0)

    async def close(self) -> None:
        pass


def scripted(*messages: str) -> SarvamSession:
    return SarvamSession(Scripted(*messages), MULAW_8K, interim=True, keep_alives=KeepAlives(15.0))


async def say(session: SarvamSession, *, finish: bool = True) -> None:
    """Have a word heard at once."""
    for frame in spoken(1, 0.0):
        await session.hear(frame)
    if finish:
        await session.finish()


def told(kind: str, number: int, text: str) -> str:
    return f'{{"event":"transcript.{kind}","utterance_idx":{number},"text":"{text}"}}'


@in_virtual_time
async def test_words_of_the_next_utterance_wait_for_the_final_ones_before_them() -> None:
    session = scripted(
        told("partial", 1, "next"), told("final", 0, "One."), told("partial", 1, "next word")
    )
    await say(session)
    await say(session, finish=False)
    events = session.events()
    came = [await anext(events) for _ in range(3)]
    assert [getattr(each, "text", None) for each in came] == ["One.", None, "next word"]
    await session.close()


@in_virtual_time
async def test_an_utterance_that_was_skipped_is_complete_with_the_next() -> None:
    session = scripted(told("partial", 0, "One."), told("final", 1, "Two."))
    await say(session)
    await say(session)
    await session.finish()
    events = session.events()
    came = [await anext(events) for _ in range(6)]
    assert [getattr(each, "text", None) for each in came] == [
        "One.",
        "One.",
        None,
        "Two.",
        None,
        None,
    ]
    assert [each.through for each in came if isinstance(each, WordsComplete)] == [0.3, 0.6, 0.6]
    await session.close()


@in_virtual_time
async def test_final_words_that_come_too_late_are_dropped() -> None:
    session = scripted(
        told("final", 0, "One."), told("final", 0, "One."), told("partial", 1, "two")
    )
    await say(session)
    await say(session, finish=False)
    events = session.events()
    came = [await anext(events) for _ in range(3)]
    assert [getattr(each, "text", None) for each in came] == ["One.", None, "two"]
    await session.close()


@in_virtual_time
async def test_an_utterance_that_sarvam_cuts_goes_on_as_another() -> None:
    session = scripted(told("final", 0, "One"), told("final", 1, "two."))
    events = session.events()
    await say(session, finish=False)
    first = await anext(events)
    await say(session)
    second = await anext(events)
    assert isinstance(first, RecognizedWords)
    assert isinstance(second, RecognizedWords)
    assert (first.text, first.start, second.text, second.end) == ("One", 0.0, "two.", 0.6)
    assert first.end == second.start
    assert await anext(events) == WordsComplete(0.6)
    await session.close()


@in_virtual_time
async def test_an_error_that_is_not_fatal_ends_nothing() -> None:
    session = scripted(
        '{"event":"error","code":"invalid_config","is_fatal":false,"message":""}',
        '{"event":"error","code":"a","is_fatal":true,"message":"no more"}',
    )
    with pytest.raises(ServiceError, match=r"no more \(a\)"):
        await anext(session.events())
    await session.close()


@in_virtual_time
async def test_a_language_that_sarvam_does_not_have_is_refused_with_its_reason() -> None:
    async with SaarasServer().running() as server:
        with pytest.raises(ServiceError, match="'language_code' cannot be 'xx-IN'"):
            await recognizer(server, "xx-IN").listen(MULAW_8K)


@in_virtual_time
async def test_a_session_that_does_not_begin_is_an_error_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stuck(*_: object) -> None:
        await asyncio.sleep(1000)

    async with SaarasServer().running() as server:
        monkeypatch.setattr("mediaserver.testing.sarvam.saaras.ServedUtterances.run", stuck)
        with pytest.raises(ServiceError, match="did not begin within 2 s"):
            await recognizer(server, connect_timeout=2).listen(MULAW_8K)


@in_virtual_time
async def test_check_opens_a_session_and_ends_it() -> None:
    async with SaarasServer().running() as server:
        await recognizer(server).check()
        with pytest.raises(MisconfiguredServiceError, match="Invalid API key"):
            await SarvamRecognizer("hi-IN", base_url=server.base_url, api_key="wrong").check()
        assert kinds(server) == ["end"]
        assert server.sessions[0].seconds == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"language": "hindi"},
        {"model": "saaras v4"},
        {"mode": "summarize"},
        {"stream_type": "slow"},
        {"prompt": " "},
        {"keyterms": ["Plivo"]},
        {"keyterms": "Plivo", "model": "saaras:v4"},
        {"keyterms": ["a" * 65], "model": "saaras:v4"},
        {"keyterms": ["a"] * 51, "model": "saaras:v4"},
        {"connect_timeout": 0},
    ],
)
def test_a_setting_that_sarvam_does_not_take_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        SarvamRecognizer(**{"language": "hi-IN", **settings})
