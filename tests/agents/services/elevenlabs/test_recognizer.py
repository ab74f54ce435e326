import asyncio
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    MisconfiguredServiceError,
    RecognizedWords,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.elevenlabs.recognizer import ElevenLabsRecognizer
from mediaserver.testing import in_virtual_time
from mediaserver.testing.scribe import ScribeServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.hearing import hear, spoken, texts, until


def recognizer(server: ScribeServer, **settings: Any) -> ElevenLabsRecognizer:
    return ElevenLabsRecognizer(base_url=server.base_url, api_key=server.api_key, **settings)


@in_virtual_time
async def test_words_are_told_as_they_come_and_final_when_they_are_asked_for() -> None:
    async with ScribeServer("I want a table.", "Now.").running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        events = session.events()
        await hear(session, spoken(4, 0.5))
        await session.finish()
        first = await until(events, WordsComplete)
        await hear(session, spoken(1, 0.5))
        await session.finish()
        second = await until(events, WordsComplete)
        await session.close()
        await session.close()
    assert texts(first, final=False)
    assert all("I want a table.".startswith(text) for text in texts(first, final=False))
    assert first[-2:] == [
        RecognizedWords("I want a table.", 0.0, 1.7, final=True, seconds=1.7),
        WordsComplete(1.7),
    ]
    assert texts(second, final=True) == ["Now."]
    assert second[-1] == WordsComplete(2.5)
    assert [m["commit"] for m in server.received if m["commit"]] == [True, True]
    assert server.refusals == []


@in_virtual_time
async def test_a_commit_that_is_not_done_is_an_answer_as_well() -> None:
    async with ScribeServer().running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        await hear(session, spoken(0, 0.1))
        await session.finish()
        assert await until(session.events(), WordsComplete) == [
            RecognizedWords("", 0.0, 0.1, final=True, seconds=0.1),
            WordsComplete(0.1),
        ]
        await session.close()


@in_virtual_time
async def test_interim_words_are_used_if_the_final_ones_do_not_come() -> None:
    fault = SocketFault(after=5, then="stall")
    async with ScribeServer("I want a table.", faults=(fault,)).running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        await hear(session, spoken(4, 0.5))
        await session.finish()
        began = asyncio.get_running_loop().time()
        events = await until(session.events(), WordsComplete)
        await session.close()
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0, abs=0.1)
    assert texts(events, final=True) == texts(events, final=False)[-1:]


@pytest.mark.parametrize(
    ("format", "audio_format"),
    [
        (MULAW_8K, "ulaw_8000"),
        (AudioFormat("alaw", 8000), "pcm_8000"),
        (L16_8K, "pcm_8000"),
        (L16_16K, "pcm_16000"),
        (AudioFormat("l16", 12000), "pcm_16000"),
    ],
)
@in_virtual_time
async def test_audio_is_sent_in_the_calls_format_if_scribe_takes_it(
    format: AudioFormat, audio_format: str
) -> None:
    async with ScribeServer("Yes.").running() as server:
        session = await recognizer(server).listen(format)
        await hear(session, spoken(1, 0.5, format))
        await session.finish()
        assert texts(await until(session.events(), WordsComplete), final=True) == ["Yes."]
        await session.close()
        assert server.queries[0]["audio_format"] == [audio_format]


@in_virtual_time
async def test_the_settings_reach_the_service() -> None:
    async with ScribeServer().running() as server:
        await recognizer(
            server,
            language="en",
            secondary_languages=["de", "fra"],
            keyterms=["New Delhi", "Plivo"],
            no_verbatim=True,
            filter_background_audio=True,
            logging=False,
        ).check()
        assert server.queries == [
            {
                "model_id": ["scribe_v2_realtime"],
                "commit_strategy": ["manual"],
                "language_code": ["en"],
                "secondary_languages": ["de", "fra"],
                "keyterms": ["New Delhi", "Plivo"],
                "no_verbatim": ["true"],
                "filter_background_audio": ["true"],
                "enable_logging": ["false"],
                "audio_format": ["ulaw_8000"],
            }
        ]
        assert server.received == []


@in_virtual_time
async def test_a_model_that_elevenlabs_does_not_have_is_refused_with_its_reason() -> None:
    async with ScribeServer().running() as server:
        with pytest.raises(ServiceError, match="'model_id' cannot be 'scribe'") as refused:
            await recognizer(server, model="scribe").listen(MULAW_8K)
        assert refused.value.status == 400


@in_virtual_time
async def test_a_session_that_does_not_start_is_an_error_in_time() -> None:
    fault = SocketFault(then="stall")
    async with ScribeServer(faults=(fault,)).running() as server:
        with pytest.raises(ServiceError, match="did not begin within 2 s"):
            await recognizer(server, connect_timeout=2).listen(MULAW_8K)


@in_virtual_time
async def test_check_needs_a_key_that_elevenlabs_accepts() -> None:
    async with ScribeServer().running() as server:
        with pytest.raises(MisconfiguredServiceError, match=r"Invalid API key \(auth_error\)"):
            await ElevenLabsRecognizer(base_url=server.base_url, api_key="wrong").check()
        await recognizer(server).check()


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "scribe v2"},
        {"language": "en-US"},
        {"secondary_languages": "de"},
        {"secondary_languages": ["german"]},
        {"keyterms": "Plivo"},
        {"keyterms": [" "]},
        {"keyterms": ["a" * 21]},
        {"keyterms": ["a"] * 51},
        {"base_url": "api.elevenlabs.io"},
        {"connect_timeout": 0},
    ],
)
def test_a_setting_that_scribe_does_not_take_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        ElevenLabsRecognizer(**settings)
