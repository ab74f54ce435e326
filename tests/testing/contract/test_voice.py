import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import ServiceError, WordMark
from mediaserver.call import Frame
from mediaserver.testing.contract import ServiceContract, VoiceContract
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


class Mouth:
    """Says a character in 20 ms, and breaks the contract as it is told."""

    def __init__(self, fault: Any = "") -> None:
        self.fault = fault
        self.sessions: list[MouthSession] = []

    async def connect(self, format: AudioFormat) -> "MouthSession":
        self.sessions.append(MouthSession(self, format))
        return self.sessions[-1]


class MouthSession:
    def __init__(self, mouth: Mouth, format: AudioFormat) -> None:
        self.mouth = mouth
        self.fault = mouth.fault
        self.format = format
        self.expires_after = 0.0 if self.fault == "expires" else None
        self.contexts: list[MouthContext] = []
        self.closed = False

    def begin(self) -> "MouthContext":
        self.contexts.append(MouthContext(self))
        return self.contexts[-1]

    async def close(self) -> None:
        assert not (self.closed and self.fault == "close"), "closed twice"
        self.closed = True
        if self.fault != "endless":
            for context in self.contexts:
                context.queue.put_nowait(None)


class MouthContext:
    def __init__(self, session: MouthSession) -> None:
        self.session = session
        self.fault = session.fault
        self.text = ""
        self.made = 0
        self.cleared = False
        self.queue: asyncio.Queue[Frame | WordMark | Exception | None] = asyncio.Queue()

    async def say(self, text: str) -> None:
        if self.session.closed and self.fault in ("closed", "loud"):
            raise ServiceError("mine", "closed")
        if not self.cleared or self.fault == "deaf":
            if self.fault == "pieces" and text.isspace():
                self.cleared = True
            self.text += text

    async def flush(self) -> None:
        if self.fault != "unflushed":
            self._make()

    async def end(self) -> None:
        session = self.session
        if self.cleared and self.fault != "deaf":
            return
        if self.text or self.fault != "hangs":
            self._make()
            if self.fault == "nothing" and not self.text:
                self.queue.put_nowait(Frame(bytes(160), session.format))
            self.queue.put_nowait(None)

    def speech(self) -> AsyncIterator[Frame | WordMark]:
        return self._speech()

    async def _speech(self) -> AsyncIterator[Frame | WordMark]:
        while True:
            item = await self.queue.get()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            await asyncio.sleep(0.001)
            yield item

    async def clear(self) -> None:
        if self.cleared:
            return
        self.cleared = True
        if self.fault == "uncleared":
            self.queue.put_nowait(None)
            return
        while not self.queue.empty():
            self.queue.get_nowait()
        if self.fault in ("stuck", "deaf"):
            return
        self.queue.put_nowait(None)
        if self.fault == "dead":
            self.session.fault = MULAW_8K

    def _make(self) -> None:
        fault, format = self.session.fault, self.session.format
        if format == fault or (fault == "ascii" and not self.text.isascii()):
            return
        if self.cleared and fault != "deaf":
            return
        count = len(self.text) - self.made
        if fault in ("mix", "mixed") and len(self.text) > 10 and self._others(fault):
            count = 1
        silence = bytes(format.bytes_per_second // 50)
        for _ in range(count):
            self.queue.put_nowait(Frame(silence, format))
        self.made = len(self.text)
        beyond = 1 if fault == "mark" else 0
        self.queue.put_nowait(WordMark(self.made + beyond, self.made * 0.02))
        if fault == "odd":
            self.queue.put_nowait(Frame(b"\0", L16_8K))
        if fault == "formats":
            self.queue.put_nowait(Frame(silence, L16_16K))

    def _others(self, fault: str) -> bool:
        """Return whether this is the long one of two texts, as they come."""
        if fault == "mix":
            return len(self.session.mouth.sessions) == 1
        return len(self.session.mouth.sessions) > 1

    def lose(self) -> None:
        if self.fault == "loud":
            self.session.closed = True
        while not self.queue.empty():
            self.queue.get_nowait()
        lost = OSError("reset") if self.fault == "raw" else ServiceError("mine", "lost")
        if self.fault != "kept":
            self.queue.put_nowait(None if self.fault == "quiet" else lost)


def contract(fault: Any = "") -> ServiceContract[Any]:
    mouth = Mouth(fault)

    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Mouth]:
        yield mouth

    async def cut(self: object) -> None:
        mouth.sessions[-1].contexts[-1].lose()

    return in_virtual_time(VoiceContract, opened=opened, cut=cut)


BROKEN = [
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", MULAW_8K, "has no audio"),
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", "odd", "ends within a sample of 2 bytes"),
    ("test_a_call_of_mulaw_at_8_khz_is_spoken_to", "formats", "has one format"),
    ("test_a_call_of_l16_at_8_khz_is_spoken_to", L16_8K, "has no audio"),
    ("test_a_call_of_l16_at_16_khz_is_spoken_to", L16_16K, "has no audio"),
    ("test_a_text_may_come_in_pieces_of_any_length", "pieces", "did not end within 10 s"),
    ("test_quotes_signs_and_letters_of_any_kind_are_spoken", "ascii", "has no audio"),
    ("test_marks_are_within_text_and_audio_and_in_order", "mark", "is outside of a text"),
    ("test_a_flushed_text_is_spoken_before_it_is_complete", "unflushed", "came after flush()"),
    ("test_a_text_of_nothing_ends", "hangs", "did not end within 10 s"),
    ("test_a_text_of_nothing_ends", "nothing", "1 frames came for a text of nothing"),
    ("test_a_cleared_text_ends_in_time", "uncleared", "s of audio came after clear()"),
    ("test_a_cleared_text_ends_in_time", "stuck", "did not end after clear()"),
    ("test_a_cleared_text_ends_in_time", "dead", "after a cleared one has no audio"),
    ("test_what_is_said_after_clear_is_dropped", "deaf", "were spoken after clear()"),
    ("test_two_texts_of_a_session_do_not_mix", "mix", "the two were mixed"),
    ("test_two_sessions_at_once_do_not_mix", "mixed", "the two were mixed"),
    ("test_a_session_says_when_it_expires", "expires", "expires_after is 0"),
    ("test_speech_ends_when_the_session_is_closed", "endless", "did not end after close()"),
    ("test_a_session_may_be_closed_twice_and_used_after_it", "close", "closed twice"),
    ("test_a_lost_connection_is_raised_by_the_speech_alone", "kept", "did not raise the loss"),
    ("test_a_lost_connection_is_raised_by_the_speech_alone", "quiet", "ended as usual"),
]


@pytest.mark.parametrize("check", sorted(checks_of(VoiceContract)))
def test_a_service_that_keeps_the_contract_passes(check: str) -> None:
    getattr(contract(), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: Any, text: str) -> None:
    assert_fails(contract(fault), check, text)


@pytest.mark.parametrize(
    ("check", "fault", "error"),
    [
        ("test_a_session_may_be_closed_twice_and_used_after_it", "closed", ServiceError),
        ("test_a_lost_connection_is_raised_by_the_speech_alone", "loud", ServiceError),
        ("test_a_lost_connection_is_raised_by_the_speech_alone", "raw", OSError),
    ],
)
def test_an_error_out_of_its_place_fails(check: str, fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(contract(fault), check)()


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == checks_of(VoiceContract)
