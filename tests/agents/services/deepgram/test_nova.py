import asyncio

import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    MisconfiguredServiceError,
    RecognizedWords,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.testing import in_virtual_time
from mediaserver.testing.deepgram import DeepgramFault, DeepgramServer
from tests.agents.services.hearing import hear, spoken, texts, until


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key the person who runs the tests has, it is not used."""
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)


def recognizer(server: DeepgramServer, **settings: object) -> DeepgramRecognizer:
    return DeepgramRecognizer(
        base_url=server.base_url,
        api_key=server.api_key,
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K, AudioFormat("l16", 22050)])
def test_interim_words_come_and_then_the_final_ones_with_their_times(format: AudioFormat) -> None:
    @in_virtual_time
    async def test() -> None:
        async with DeepgramServer("I want a table.").running() as server:
            session = await recognizer(server).listen(format)
            await hear(session, spoken(4, 0.5, format))
            await session.finish()
            came = await until(session.events(), WordsComplete)
            await session.close()
        assert server.refusals == []
        *interim, final, complete = came
        assert interim
        assert all(isinstance(each, RecognizedWords) and not each.final for each in interim)
        assert isinstance(final, RecognizedWords)
        assert (final.text, final.final, final.start) == ("I want a table.", True, 0.0)
        assert final.seconds == final.end == pytest.approx(1.7, abs=0.05)
        assert [word.text for word in final.words] == ["I", "want", "a", "table."]
        assert final.words[2].start == pytest.approx(0.57, abs=0.05)
        assert isinstance(complete, WordsComplete)
        assert complete.through == pytest.approx(1.7, abs=0.05)

    test()


@in_virtual_time
async def test_audio_is_sent_as_it_is_and_80_ms_at_a_time() -> None:
    async with DeepgramServer().running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        await hear(session, spoken(1, 0.1))
        await session.finish()
        await until(session.events(), WordsComplete)
        await session.close()
    assert server.sizes == [640] * 5
    assert server.queries == [
        (
            "/v1/listen",
            {
                "model": ["nova-3"],
                "interim_results": ["true"],
                "endpointing": ["false"],
                "smart_format": ["true"],
                "encoding": ["mulaw"],
                "sample_rate": ["8000"],
            },
        )
    ]


@in_virtual_time
async def test_every_setting_is_one_that_deepgram_has() -> None:
    async with DeepgramServer().running() as server:
        ears = recognizer(
            server,
            language="multi",
            keyterms=["Plivo", "a b"],
            punctuate=False,
            numerals=True,
            profanity_filter=True,
            redact=["pci"],
            endpointing=0.3,
            speech_only=True,
            mip_opt_out=True,
            tags=["test"],
        )
        session = await ears.listen(MULAW_8K)
        await session.close()
    assert not session.continuous
    query = server.queries[0][1]
    assert query["keyterm"] == ["Plivo", "a b"]
    assert query["endpointing"] == ["300"]
    assert query["punctuate"] == ["false"]


@in_virtual_time
async def test_words_that_were_final_before_do_not_come_again() -> None:
    async with DeepgramServer("One two.", "Three.").running() as server:
        session = await recognizer(server, endpointing=0.3).listen(MULAW_8K)
        await hear(session, [*spoken(2, 0.5), *spoken(1, 0.5)])
        await session.finish()
        came = await until(session.events(), WordsComplete)
        await session.close()
    assert [text for text in texts(came, final=True) if text] == ["One two.", "Three."]


@in_virtual_time
async def test_words_are_complete_after_a_while_if_deepgram_has_nothing_to_say() -> None:
    async with DeepgramServer().running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        events = session.events()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        await session.finish()
        assert await waiting == WordsComplete(0.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.5, abs=0.01)
        await session.close()


@in_virtual_time
async def test_a_connection_without_audio_is_kept_open_and_then_hears() -> None:
    async with DeepgramServer("Hello.").running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        await asyncio.sleep(60)
        await hear(session, spoken(1, 0.5))
        await session.finish()
        came = await until(session.events(), WordsComplete)
        await session.close()
    assert {m["type"] for m in server.received} == {"KeepAlive", "Finalize", "CloseStream"}
    assert isinstance(came[-2], RecognizedWords)
    assert came[-2].text == "Hello."


@in_virtual_time
async def test_closing_ends_the_events() -> None:
    async with DeepgramServer().running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        events = asyncio.ensure_future(until(session.events(), WordsComplete))
        await asyncio.sleep(0.1)
        await session.close()
        await session.close()
        with pytest.raises(AssertionError, match="no WordsComplete"):
            await events


@in_virtual_time
async def test_a_slow_answer_comes_late_and_a_stalled_one_is_not_waited_for() -> None:
    faults = (DeepgramFault(delay=0.2), DeepgramFault(then="stall"))
    async with DeepgramServer("Yes.", "No.", faults=faults).running() as server:
        for text in ("Yes.", None):
            session = await recognizer(server).listen(MULAW_8K)
            await hear(session, spoken(1, 0.1))
            await session.finish()
            came = await until(session.events(), WordsComplete)
            assert texts(came, final=True) == ([text] if text else [])
            await session.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"model": ""},
        {"model": "nova 3"},
        {"language": "not a word"},
        {"keyterms": "Plivo"},
        {"keyterms": [" "]},
        {"keyterms": ["Plivo"], "model": "nova-2"},
        {"endpointing": 300},
        {"endpointing": True},
        {"base_url": "api.deepgram.com"},
        {"base_url": "wss://api.deepgram.com/v1/listen"},
        {"connect_timeout": 0},
    ],
)
def test_a_setting_that_deepgram_does_not_take_is_refused_at_once(
    settings: dict[str, object],
) -> None:
    with pytest.raises(ValueError, match="not"):
        DeepgramRecognizer(**settings)  # type: ignore[arg-type]


@in_virtual_time
async def test_check_needs_a_key_that_deepgram_accepts() -> None:
    async with DeepgramServer().running() as server:
        with pytest.raises(MisconfiguredServiceError, match="DEEPGRAM_API_KEY"):
            await DeepgramRecognizer(base_url=server.base_url).check()
        with pytest.raises(MisconfiguredServiceError, match="refused the key with 401"):
            await DeepgramRecognizer(base_url=server.base_url, api_key="wrong").check()
        await recognizer(server).check()
    with pytest.raises(ServiceError, match="cannot reach"):
        await recognizer(server).check()
