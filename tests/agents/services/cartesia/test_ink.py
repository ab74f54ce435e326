import asyncio
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    MisconfiguredServiceError,
    RecognizedWords,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.cartesia.ink import (
    CartesiaRecognizer,
    InkSession,
    InkTurnsRecognizer,
)
from mediaserver.testing import in_virtual_time
from mediaserver.testing.ink import InkServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.hearing import hear, signs, spoken, texts, until


def manual(server: InkServer, **settings: Any) -> CartesiaRecognizer:
    return CartesiaRecognizer(base_url=server.base_url, api_key=server.api_key, **settings)


def turns(server: InkServer, **settings: Any) -> InkTurnsRecognizer:
    return InkTurnsRecognizer(base_url=server.base_url, api_key=server.api_key, **settings)


@in_virtual_time
async def test_an_utterance_is_told_as_it_comes_and_whole_when_it_was_asked_for() -> None:
    async with InkServer("I want a table.", "Now.").running() as server:
        session = await manual(server).listen(MULAW_8K)
        events = session.events()
        await hear(session, spoken(4, 0.5))
        await session.finish()
        first = await until(events, WordsComplete)
        await hear(session, spoken(1, 0.5))
        await session.finish()
        second = await until(events, WordsComplete)
        await session.close()
    assert all("I want a table.".startswith(text) for text in texts(first, final=False))
    assert first[-2:] == [
        RecognizedWords("I want a table.", 0.0, 1.7, final=True, seconds=1.7),
        WordsComplete(1.7),
    ]
    assert texts(second, final=True) == ["Now."]
    assert second[-1] == WordsComplete(2.5)
    assert [message["type"] for message in server.received] == ["finalize", "finalize", "close"]
    assert server.refusals == []


@in_virtual_time
async def test_what_is_known_is_used_if_the_rest_does_not_come() -> None:
    fault = SocketFault(after=3, then="stall")
    async with InkServer("I want a table.", faults=(fault,)).running() as server:
        session = await manual(server).listen(MULAW_8K)
        await hear(session, spoken(4, 0.5))
        await session.finish()
        began = asyncio.get_running_loop().time()
        events = await until(session.events(), WordsComplete)
        await session.close()
        assert asyncio.get_running_loop().time() - began == pytest.approx(5.0, abs=0.1)
    assert len(texts(events, final=True)) == 1


@in_virtual_time
async def test_turns_are_told_by_the_service() -> None:
    async with InkServer("I want a table.", "Now.").running() as server:
        session = await turns(server).listen(MULAW_8K)
        events = session.events()
        await hear(session, spoken(4, 1.0))
        first = await until(events, CallerFinished)
        await hear(session, spoken(1, 1.0))
        second = await until(events, CallerFinished)
        await session.close()
    assert first[0] == CallerSpeaks()
    assert CallerMayHaveFinished() in first
    final = first[-2]
    assert isinstance(final, RecognizedWords)
    assert final.text == "I want a table."
    assert final.end == final.seconds
    assert texts(second, final=True) == ["Now."]
    assert server.refusals == []


@in_virtual_time
async def test_a_caller_who_goes_on_is_told() -> None:
    async with InkServer("I want a table.").running() as server:
        session = await turns(server).listen(MULAW_8K)
        await hear(session, [*spoken(2, 0.32), *spoken(2, 1.0)])
        events = await until(session.events(), CallerFinished)
        await session.close()
    assert signs(events) == [
        CallerSpeaks,
        CallerMayHaveFinished,
        CallerGoesOn,
        CallerMayHaveFinished,
        CallerFinished,
    ]


@in_virtual_time
async def test_words_that_were_used_before_the_end_of_a_turn_are_not_told_again() -> None:
    async with InkServer("I want a table.").running() as server:
        session = await turns(server).listen(MULAW_8K)
        events = session.events()
        await hear(session, spoken(2, 0.0))
        await session.finish()
        first = await until(events, WordsComplete)
        await hear(session, spoken(2, 1.0))
        second = await until(events, CallerFinished)
        await session.close()
    told = [*texts(first, final=True), *texts(second, final=True)]
    assert len(told) == 2
    assert " ".join(told) == "I want a table."


@in_virtual_time
async def test_a_turn_that_ends_answers_finish() -> None:
    async with InkServer("Now.").running() as server:
        session = await turns(server).listen(MULAW_8K)
        events = session.events()
        await hear(session, spoken(1, 0.5))
        await session.finish()
        await hear(session, spoken(0, 0.3))
        came = await until(events, WordsComplete)
        await session.close()
    assert came[-2:] == [CallerFinished(), WordsComplete(pytest.approx(0.8))]  # type: ignore[arg-type]


@pytest.mark.parametrize("recognizer", [manual, turns])
@pytest.mark.parametrize(
    ("format", "encoding", "rate"),
    [
        (MULAW_8K, "pcm_mulaw", "8000"),
        (AudioFormat("alaw", 8000), "pcm_alaw", "8000"),
        (L16_8K, "pcm_s16le", "8000"),
        (L16_16K, "pcm_s16le", "16000"),
        (AudioFormat("l16", 12000), "pcm_s16le", "16000"),
    ],
)
@in_virtual_time
async def test_audio_is_sent_in_the_calls_format_if_ink_takes_it(
    recognizer: Any, format: AudioFormat, encoding: str, rate: str
) -> None:
    async with InkServer("Yes.").running() as server:
        session = await recognizer(server).listen(format)
        await hear(session, spoken(1, 1.0, format))
        await session.finish()
        assert "Yes." in texts(await until(session.events(), WordsComplete), final=True)
        await session.close()
        (_, query), *_ = server.queries
    assert (query["encoding"], query["sample_rate"]) == ([encoding], [rate])


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with InkServer().running() as server:
        await manual(server, model="ink-whisper", language="de", keyterms=["Plivo"]).check()
        await turns(
            server,
            start_threshold=0.7,
            eager_end_threshold=0.5,
            end_threshold=0.3,
            end_timeout=2.5,
            keyterms=["New Delhi", "Plivo"],
        ).check()
        audio = {"encoding": ["pcm_mulaw"], "sample_rate": ["8000"]}
        assert server.queries == [
            (
                "/stt/websocket",
                {"model": ["ink-whisper"], "language": ["de"], "keyterm": ["Plivo"], **audio},
            ),
            (
                "/stt/turns/websocket",
                {
                    "model": ["ink-2"],
                    "turn_start_threshold": ["0.7"],
                    "turn_eager_end_threshold": ["0.5"],
                    "turn_end_threshold": ["0.3"],
                    "turn_end_timeout_ms": ["2500"],
                    "keyterm": ["New Delhi", "Plivo"],
                    **audio,
                },
            ),
        ]


@in_virtual_time
async def test_an_error_of_the_session_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InkSession, "finish_message", "finalise")
    async with InkServer().running() as server:
        session = await manual(server).listen(MULAW_8K)
        await session.finish()
        with pytest.raises(ServiceError, match="Invalid request: a message must be") as refused:
            await until(session.events(), WordsComplete)
        assert refused.value.status == 400
        await session.close()


@in_virtual_time
async def test_check_needs_a_key_that_cartesia_accepts() -> None:
    async with InkServer().running() as server:
        with pytest.raises(MisconfiguredServiceError, match="refused the connection with 401"):
            await CartesiaRecognizer(base_url=server.base_url, api_key="wrong").check()
        await manual(server).check()
        assert server.sizes == []


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "ink 2"},
        {"language": "en-US"},
        {"keyterms": "Plivo"},
        {"keyterms": [" "]},
        {"keyterms": ["a"] * 101},
        {"keyterms": ["a" * 1201]},
        {"keyterms": ["a" * 700, "b" * 700]},
        {"base_url": "api.cartesia.ai"},
        {"connect_timeout": 0},
    ],
)
def test_a_setting_that_ink_does_not_take_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        CartesiaRecognizer(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"start_threshold": 0.4},
        {"eager_end_threshold": 0.7},
        {"end_threshold": 0.6},
        {"end_timeout": 640},
        {"end_threshold": 0.45},
        {"eager_end_threshold": 0.6, "start_threshold": 0.55},
    ],
)
def test_turns_that_ink_cannot_take_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"threshold|end_timeout"):
        InkTurnsRecognizer(**settings)
