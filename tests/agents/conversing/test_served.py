import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from audiocodecs import L16_8K, AudioFormat
from mediaserver.agents.conversing.served import served, speech
from mediaserver.agents.services import ServiceError
from mediaserver.call import Frame
from mediaserver.testing import run_virtual


class Service:
    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.closed = False

    async def ask(self) -> AsyncIterator[Any]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    yield piece
        finally:
            self.closed = True


def collect(
    service: Any,
) -> tuple[list[Any], ServiceError] | tuple[list[str], None] | tuple[list[str], ServiceError]:
    async def main() -> (
        tuple[list[Any], ServiceError] | tuple[list[str], None] | tuple[list[str], ServiceError]
    ):
        got = []
        try:
            async for piece in served(service.ask, service="voice", patience=1.0):
                got += [piece]
        except ServiceError as error:
            return got, error
        return got, None

    return run_virtual(main())


def test_pieces_come_as_they_are() -> None:
    assert collect(Service("a", 0.5, "b")) == (["a", "b"], None)


def test_its_own_error_is_passed_on() -> None:
    error = ServiceError("brain", "no money left", status=402)
    assert collect(Service("a", error)) == (["a"], error)


def test_any_other_exception_is_an_error_of_the_service(caplog: pytest.LogCaptureFixture) -> None:
    got, error = collect(Service("a", KeyError("choices")))
    assert got == ["a"]
    assert isinstance(error, ServiceError)
    assert (error.service, str(error)) == ("voice", "voice: KeyError: 'choices'")
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize("pieces", [(1.5, "a"), ("a", 1.5, "b")])
def test_who_keeps_waiting_has_failed(pieces: tuple[float, str] | tuple[str, float, str]) -> None:
    service = Service(*pieces)
    _, error = collect(service)
    assert isinstance(error, ServiceError)
    assert error.service == "voice"
    assert service.closed


def test_a_request_that_cannot_even_be_made_is_one_too() -> None:
    class Wrong:
        def ask(self) -> None:
            raise ValueError("no such voice")

    assert str(collect(Wrong())[1]) == "voice: ValueError: no such voice"


def test_closing_closes_the_service() -> None:
    async def main() -> None:
        pieces = served(service.ask, service="voice", patience=1.0)
        await anext(pieces)
        await pieces.aclose()
        assert service.closed

    service = Service("a", "b")
    run_virtual(main())


def test_speech_comes_in_whole_samples_however_the_service_cuts_it() -> None:
    audio = bytes(range(1, 101)) + b"\x7f"

    class Cutting:
        async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Any]:
            for start in range(0, len(audio), 7):
                yield Frame(audio[start : start + 7], format)

    async def main() -> list[bytes]:
        pieces = speech(Cutting(), "hello", L16_8K, patience=1.0)
        return [piece.payload async for piece in pieces if isinstance(piece, Frame)]

    payloads = run_virtual(main())
    assert all(len(payload) % 2 == 0 for payload in payloads)
    assert b"".join(payloads) == audio[:-1]


def test_half_a_sample_is_no_speech() -> None:
    class Wrong:
        async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Any]:
            yield Frame(b"\x7f", format)

    async def main() -> None:
        async for _ in speech(Wrong(), "hello", L16_8K, patience=1.0):
            pass

    with pytest.raises(ServiceError, match="no audio came for a text of 5 characters"):
        run_virtual(main())
