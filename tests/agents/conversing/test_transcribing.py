import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.transcribing import transcripts
from mediaserver.agents.services import ServiceError, Transcript
from mediaserver.call import Frame


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
