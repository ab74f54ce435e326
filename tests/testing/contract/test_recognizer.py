import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWord,
    RecognizedWords,
    RecognizerEvent,
    ServiceError,
    WordsComplete,
)
from mediaserver.call import Frame
from mediaserver.testing.contract import RecognizerContract, ServiceContract
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


TURNS: dict[Any, list[RecognizerEvent]] = {
    "twice": [CallerSpeaks(), CallerSpeaks()],
    "may": [CallerMayHaveFinished()],
    "on": [CallerSpeaks(), CallerGoesOn()],
    "finished": [CallerFinished()],
}
GOOD_TURNS: list[RecognizerEvent] = [
    CallerSpeaks(),
    CallerMayHaveFinished(),
    CallerGoesOn(),
    CallerMayHaveFinished(),
    CallerFinished(),
]


class Ears:
    """Recognises a word up to each `finish`, and breaks the contract as it is told."""

    def __init__(self, fault: Any = "", *, takes_turns: bool = True) -> None:
        self.fault = fault
        self.takes_turns = takes_turns and fault != "untaken"
        self.sessions: list[EarsSession] = []

    async def listen(self, format: AudioFormat) -> "EarsSession":
        self.sessions.append(EarsSession(self, format))
        return self.sessions[-1]


class EarsSession:
    continuous = True

    def __init__(self, ears: Ears, format: AudioFormat) -> None:
        self.fault: Any = None if format == ears.fault else ears.fault
        self.ears = ears
        self.deaf = format == ears.fault
        self.takes_turns = ears.takes_turns
        self.expires_after = 0.0 if self.fault == "expires" else None
        self.seconds = self.told = 0.0
        self.queue: asyncio.Queue[RecognizerEvent | Exception | None] = asyncio.Queue()
        self.closed = False

    async def hear(self, frame: Frame) -> None:
        if self.closed and self.fault == "closed":
            raise ServiceError("mine", "closed")
        if self.fault == "length" and len(frame.payload) != 160:
            self.deaf = True
        self.seconds += frame.seconds

    async def finish(self) -> None:
        if self.deaf or (self.fault == "nothing" and not self.seconds):
            return
        turns = TURNS.get(self.fault, GOOD_TURNS)
        if self.takes_turns or self.fault == "untaken":
            for turn in turns:
                self.queue.put_nowait(turn)
        start, end = self.told, self.seconds
        words = (RecognizedWord("word", start, end + (9 if self.fault == "word" else 0)),)
        match self.fault:
            case "reversed":
                start, end = end, start
            case "again":
                start = 0.0
            case "beyond":
                end += 9
        cost = -1 if self.fault == "cost" else 0
        self.queue.put_nowait(RecognizedWords("word", start, end, True, words, cost))
        through = {"early": 0.0, "far": 99.0}.get(self.fault, self.seconds)
        self.queue.put_nowait(WordsComplete(through))
        if self.fault == "double":
            self.queue.put_nowait(WordsComplete(through))
        others = [each for each in self.ears.sessions if each is not self]
        if self.fault == "mix" and others:
            others[0].queue.put_nowait(WordsComplete(through))
        self.told = self.seconds

    async def events(self) -> AsyncIterator[RecognizerEvent]:
        while (event := await self.queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        assert not (self.closed and self.fault == "close"), "closed twice"
        if self.fault != "endless":
            self.queue.put_nowait(None)
        self.closed = True

    def lose(self) -> None:
        self.queue.put_nowait(
            OSError("reset") if self.fault == "raw" else ServiceError("mine", "lost")
        )
        self.deaf = True
        if self.fault == "loud":
            self.closed, self.fault = True, "closed"


def contract(fault: Any = "", *, takes_turns: bool = True) -> ServiceContract[Any]:
    ears = Ears(fault, takes_turns=takes_turns)

    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Ears]:
        yield ears

    async def cut(self: object) -> None:
        if fault != "kept":
            ears.sessions[-1].lose()

    return in_virtual_time(RecognizerContract, opened=opened, cut=cut)


BROKEN = [
    ("test_mulaw_at_8_khz_is_heard", MULAW_8K, "not answered by WordsComplete within 5 s"),
    ("test_l16_at_8_khz_is_heard", L16_8K, "not answered"),
    ("test_l16_at_16_khz_is_heard", L16_16K, "not answered"),
    ("test_frames_may_have_any_length", "length", "not answered"),
    ("test_finish_without_audio_is_answered", "nothing", "not answered"),
    ("test_each_finish_is_answered_once_and_in_order", "double", "and answered 6"),
    ("test_each_finish_is_answered_once_and_in_order", "early", "and answered for 0.00"),
    ("test_times_are_in_order_and_within_the_audio", "reversed", "end before they start"),
    ("test_times_are_in_order_and_within_the_audio", "again", "before final ones at 1.00 s"),
    ("test_times_are_in_order_and_within_the_audio", "beyond", "and 2.00 s were heard"),
    ("test_times_are_in_order_and_within_the_audio", "word", "is not in its place"),
    ("test_times_are_in_order_and_within_the_audio", "cost", "are not negative"),
    ("test_times_are_in_order_and_within_the_audio", "far", "is not within 0.00 to 2.00 s"),
    ("test_turns_are_told_by_a_session_that_takes_them", "untaken", "takes_turns is false"),
    ("test_turns_are_told_by_a_session_that_takes_them", "twice", "CallerSpeaks came twice"),
    ("test_turns_are_told_by_a_session_that_takes_them", "may", "without CallerSpeaks"),
    ("test_turns_are_told_by_a_session_that_takes_them", "on", "without CallerMayHaveFinished"),
    ("test_turns_are_told_by_a_session_that_takes_them", "finished", "without CallerSpeaks"),
    ("test_a_session_says_when_it_expires", "expires", "expires_after is 0"),
    ("test_the_events_end_when_the_session_is_closed", "endless", "did not end after close()"),
    ("test_a_session_may_be_closed_twice_and_used_after_it", "close", "closed twice"),
    ("test_two_sessions_at_once_do_not_mix", "mix", "one finish of a session was answered 2"),
    ("test_a_lost_connection_is_raised_by_the_events_alone", "raw", "ended with OSError"),
    ("test_a_lost_connection_is_raised_by_the_events_alone", "kept", "did not raise the loss"),
]


@pytest.mark.parametrize("takes_turns", [False, True])
@pytest.mark.parametrize("check", sorted(checks_of(RecognizerContract)))
def test_a_service_that_keeps_the_contract_passes(check: str, takes_turns: bool) -> None:
    getattr(contract(takes_turns=takes_turns), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: Any, text: str) -> None:
    assert_fails(contract(fault), check, text)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("test_a_session_may_be_closed_twice_and_used_after_it", "closed"),
        ("test_a_lost_connection_is_raised_by_the_events_alone", "loud"),
    ],
)
def test_an_error_of_another_method_than_events_fails(check: str, fault: str) -> None:
    with pytest.raises(ServiceError, match="closed"):
        getattr(contract(fault), check)()


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == checks_of(RecognizerContract)
