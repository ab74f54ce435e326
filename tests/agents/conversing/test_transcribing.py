import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.transcribing import UtteranceRecognizer, transcripts
from mediaserver.agents.services import ServiceError, Transcript, WordsComplete
from mediaserver.call import Frame
from mediaserver.testing.services import Fault, TimedTranscription, Timing


class Service:
    """Yields what it is given, or raises it; None has it wait for ever."""

    def __init__(self, *pieces: Any) -> None:
        self._pieces = pieces
        self.closed = False

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        try:
            for piece in self._pieces:
                if piece is None:
                    await asyncio.Event().wait()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


async def collect(service: Service, *, ended: bool = True) -> list[str]:
    utterance = Utterance([], started_at=0.0)
    if ended:
        utterance.end()
    else:
        asyncio.get_running_loop().call_later(60.0, utterance.end)
    pieces = transcripts(service, utterance, patience=2.0)
    return [transcript.text async for transcript in pieces]


async def test_the_final_transcript_ends_it_though_the_service_does_not() -> None:
    service = Service(Transcript("Hel"), Transcript("Hello.", final=True), None)
    assert await collect(service) == ["Hel", "Hello."]
    assert service.closed


async def test_patience_counts_from_the_end_of_the_utterance() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(ServiceError, match="no transcript within 2 s"):
        await collect(Service(None), ended=False)
    assert asyncio.get_running_loop().time() - began == pytest.approx(62.0)


async def test_an_error_of_the_service_is_passed_on() -> None:
    error = ServiceError("ears", "gone")
    with pytest.raises(ServiceError) as raised:
        await collect(Service(error))
    assert raised.value is error


async def test_any_other_exception_is_a_service_error() -> None:
    with pytest.raises(ServiceError, match="speech_to_text: KeyError: 'text'"):
        await collect(Service(KeyError("text")))


async def test_what_is_not_a_transcript_is_refused() -> None:
    with pytest.raises(ServiceError, match="it sent a str; allowed: Transcript"):
        await collect(Service("Hello."))


# As a recogniser with sessions.


async def told(recognizer: UtteranceRecognizer, *utterances: int) -> list[Any]:
    """Return what a session tells of utterances of some frames each."""
    session = await recognizer.listen(MULAW_8K)
    for count in utterances:
        for _ in range(count):
            await session.hear(Frame(bytes(160), MULAW_8K))
        await session.finish()
    events = []
    async for event in session.events():
        events.append(event)
        if sum(isinstance(each, WordsComplete) for each in events) == len(utterances):
            await session.close()
    return events


async def test_each_utterance_is_transcribed_and_complete() -> None:
    service = TimedTranscription(["one", "two"], timing=Timing(0.1))
    first, complete, second, _ = await told(UtteranceRecognizer(service, patience=2.0), 50, 25)
    assert (first.text, first.start, first.final) == ("one", 0.0, True)
    assert first.end == first.seconds == pytest.approx(1.0)
    assert complete == WordsComplete(first.end)
    assert (second.text, second.start, second.end) == ("two", first.end, pytest.approx(1.5))
    assert service.open == 0


async def test_an_utterance_that_fails_ends_no_session() -> None:
    error = ServiceError("ears", "away")
    service = TimedTranscription(["one", "two"], fault=Fault(error=error, uses=1))
    failed, words, complete = await told(UtteranceRecognizer(service, patience=2.0), 5, 5)
    assert (failed.error, words.text, complete.error) == (error, "two", None)


async def test_a_service_that_ends_too_early_has_told_its_last_words() -> None:
    service = Service(Transcript("Hel"))
    partial, final, _ = await told(UtteranceRecognizer(service, patience=2.0), 5)
    assert [(each.text, each.final) for each in (partial, final)] == [("Hel", False), ("Hel", True)]


async def test_a_closed_session_transcribes_nothing_more() -> None:
    service = TimedTranscription(["one"], timing=Timing(60.0))
    session = await UtteranceRecognizer(service, patience=90.0).listen(MULAW_8K)
    await session.hear(Frame(bytes(160), MULAW_8K))
    await session.finish()
    await asyncio.sleep(1.0)
    await session.close()
    assert (service.uses, service.open) == (1, 0)
    assert [event async for event in session.events()] == []


async def test_who_said_nothing_is_understood() -> None:
    events = await told(UtteranceRecognizer(Service(), patience=2.0), 0)
    assert events == [WordsComplete(0.0)]
