import asyncio

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWords,
    WordsComplete,
)
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.testing import in_virtual_time
from mediaserver.testing.deepgram import DeepgramServer
from tests.agents.services.hearing import hear, signs, spoken, texts, until


def recognizer(server: DeepgramServer, **settings: object) -> FluxRecognizer:
    return FluxRecognizer(
        base_url=server.base_url,
        api_key=server.api_key,
        **settings,  # type: ignore[arg-type]
    )


@in_virtual_time
async def test_a_turn_begins_has_words_and_ends() -> None:
    async with DeepgramServer("I want a table.").running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        assert (session.takes_turns, session.continuous) == (True, True)
        await hear(session, [*spoken(0, 0.5), *spoken(4, 1.0)])
        came = await until(session.events(), CallerFinished)
        await session.close()
    assert signs(came) == [CallerSpeaks, CallerFinished]
    assert isinstance(came[0], CallerSpeaks)
    final = came[-2]
    assert isinstance(final, RecognizedWords)
    assert (final.text, final.final) == ("I want a table.", True)
    assert final.start == final.words[0].start == pytest.approx(0.5, abs=0.03)
    assert final.seconds == final.end == pytest.approx(2.3, abs=0.1)
    interim = texts(came, final=False)
    assert interim[0] == "I"
    assert len(set(interim)) == len(interim)  # an update without another word is no event


@in_virtual_time
async def test_the_caller_may_have_finished_goes_on_and_finishes() -> None:
    async with DeepgramServer("One two three four.").running() as server:
        session = await recognizer(server, eager_eot_threshold=0.4).listen(MULAW_8K)
        await hear(session, [*spoken(2, 0.4), *spoken(2, 1.0)])
        came = await until(session.events(), CallerFinished)
        await session.close()
    assert signs(came) == [
        CallerSpeaks,
        CallerMayHaveFinished,
        CallerGoesOn,
        CallerMayHaveFinished,
        CallerFinished,
    ]


@in_virtual_time
async def test_each_turn_is_charged_for_once() -> None:
    async with DeepgramServer("One.", "Two.").running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        await hear(session, [*spoken(1, 1.0), *spoken(1, 1.0)])
        events = session.events()
        came = [*await until(events, CallerFinished), *await until(events, CallerFinished)]
        await session.close()
    finals = [e for e in came if isinstance(e, RecognizedWords) and e.final]
    assert [e.text for e in finals] == ["One.", "Two."]
    assert sum(e.seconds for e in finals) == finals[-1].end


@in_virtual_time
async def test_finish_ends_the_turn_at_once_and_says_when_all_words_were_told() -> None:
    async with DeepgramServer("Yes.").running() as server:
        session = await recognizer(server, eot_threshold=1.0, eot_timeout=30).listen(MULAW_8K)
        await hear(session, spoken(1, 0.3))
        await session.finish()
        came = await until(session.events(), WordsComplete)
        await session.close()
    assert signs(came) == [CallerSpeaks, CallerFinished, WordsComplete]
    assert isinstance(came[-1], WordsComplete)
    assert came[-1].through == pytest.approx(0.6, abs=0.01)
    assert {"type": "ForceEndTurn"} in server.received


@in_virtual_time
async def test_finish_without_a_turn_is_answered_as_well() -> None:
    async with DeepgramServer().running() as server:
        session = await recognizer(server).listen(MULAW_8K)
        await hear(session, spoken(0, 0.3))
        await session.finish()
        async with asyncio.timeout(1):
            assert signs(await until(session.events(), WordsComplete)) == [WordsComplete]
        await session.close()


@in_virtual_time
async def test_every_setting_is_one_that_flux_has() -> None:
    async with DeepgramServer().running() as server:
        ears = recognizer(
            server,
            model="flux-general-multi",
            eot_threshold=0.8,
            eager_eot_threshold=0.5,
            eot_timeout=3,
            keyterms=["Plivo"],
            language_hints=["es", "en"],
            numerals=True,
            profanity_filter=True,
            mip_opt_out=True,
            tags=["test"],
        )
        await (await ears.listen(MULAW_8K)).close()
        await ears.check()
    assert server.queries[0][1]["eot_timeout_ms"] == ["3000"]
    assert server.queries[0][1]["language_hint"] == ["es", "en"]


@pytest.mark.parametrize(
    "settings",
    [
        {"eot_threshold": 0.4},
        {"eot_threshold": "0.7"},
        {"eager_eot_threshold": 0.2},
        {"eager_eot_threshold": 0.8},  # above the default of eot_threshold
        {"eager_eot_threshold": 0.7, "eot_threshold": 0.6},
        {"eot_timeout": 5000},
        {"language_hints": ["es"]},
        {"keyterms": "Plivo"},
        {"model": ""},
    ],
)
def test_a_setting_that_flux_does_not_take_is_refused_at_once(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not"):
        FluxRecognizer(**settings)  # type: ignore[arg-type]
