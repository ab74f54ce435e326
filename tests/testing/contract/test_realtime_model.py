import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    Message,
    RealtimeEvent,
    ResponseDone,
    ServiceError,
    Speech,
    ToolSpec,
)
from mediaserver.call import Frame
from mediaserver.testing.contract import RealtimeModelContract, ServiceContract
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


class Model:
    """Answers with a little silence, and breaks the contract as it is told."""

    def __init__(self, fault: Any = "") -> None:
        self.fault = fault
        self.sessions: list[ModelSession] = []

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> "ModelSession":
        self.sessions.append(ModelSession(self, format))
        return self.sessions[-1]


class ModelSession:
    takes_turns = False

    def __init__(self, model: Model, format: AudioFormat) -> None:
        self.model = model
        self.fault = model.fault
        self.format = format
        self.count = 0
        self.closed = False
        self.heard_odd = False
        self.asked: asyncio.Queue[int] = asyncio.Queue()
        self.queue: asyncio.Queue[RealtimeEvent | Exception | None] = asyncio.Queue()
        self.cancelled = False
        self.task = asyncio.create_task(self._work())

    async def hear(self, frame: Frame) -> None:
        self.heard_odd = self.heard_odd or len(frame.payload) != 160

    async def end_turn(self) -> None:
        await self._ask()

    async def say(self, instructions: str) -> None:
        await self._ask()

    async def tell(self, message: Message) -> None:
        if self.fault == "told":
            await self._ask()

    async def respond(self) -> None:
        await self._ask()

    async def cancel(self) -> None:
        if self.fault == "cancel" and not self.count:
            self.queue.put_nowait(ServiceError("mine", "nothing to cancel"))
        if self.fault == "late":
            return
        self.cancelled = True
        while not self.asked.empty():
            self.asked.get_nowait()

    async def truncate(self, item_id: str, seconds: float) -> None:
        pass

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        while (event := await self.queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        assert not (self.closed and self.fault == "close"), "closed twice"
        self.closed = True
        self.task.cancel()
        if self.fault != "endless":
            self.queue.put_nowait(None)

    def lose(self) -> None:
        lost = OSError("reset") if self.fault == "raw" else ServiceError("mine", "lost")
        if self.fault != "kept":
            self.queue.put_nowait(lost)
        self.closed = self.fault == "loud"

    async def _ask(self) -> None:
        if self.closed and self.fault in ("closed", "loud"):
            raise ServiceError("mine", "closed")
        self.count += 1
        self.asked.put_nowait(self.count)

    async def _work(self) -> None:
        while True:
            number = await self.asked.get()
            self.cancelled = False
            if self.fault == self.format or (self.fault == "length" and self.heard_odd):
                continue
            if self.fault == "failed":
                self.queue.put_nowait(ResponseDone(error="overloaded"))
                continue
            if self.fault == "items":
                await self._speak("first")
            if self.fault != "mute":
                await self._speak("last" if self.fault == "items" else str(number))
            done = ResponseDone(cancelled=self.cancelled or self.fault == "cancelled")
            self.queue.put_nowait(done)
            if self.fault == "double" or (self.fault == "again" and self.cancelled):
                self.queue.put_nowait(done)
            others = [each for each in self.model.sessions if each is not self]
            if self.fault == "mix" and others:
                others[0].queue.put_nowait(done)

    async def _speak(self, item: str) -> None:
        silence = bytes(self.format.bytes_per_second // 50)
        for _ in range(10):
            await asyncio.sleep(0.01)
            if self.cancelled:
                return
            payload = b"" if self.fault == "odd" else silence
            self.queue.put_nowait(Speech(item, Frame(payload, self.format)))


def contract(fault: Any = "") -> ServiceContract[Any]:
    model = Model(fault)

    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Model]:
        yield model

    async def cut(self: object) -> None:
        model.sessions[-1].lose()

    return in_virtual_time(RealtimeModelContract, opened=opened, cut=cut)


BROKEN = [
    ("test_a_call_of_mulaw_at_8_khz_is_answered", MULAW_8K, "no ResponseDone came within 10 s"),
    ("test_a_call_of_mulaw_at_8_khz_is_answered", "mute", "no Speech came"),
    ("test_a_call_of_mulaw_at_8_khz_is_answered", "odd", "a frame without audio"),
    ("test_a_call_of_mulaw_at_8_khz_is_answered", "failed", "failed: overloaded"),
    ("test_a_call_of_l16_at_8_khz_is_answered", L16_8K, "no ResponseDone came"),
    ("test_a_call_of_l16_at_16_khz_is_answered", L16_16K, "no ResponseDone came"),
    ("test_frames_may_have_any_length", "length", "no ResponseDone came"),
    ("test_each_response_is_done_once", "double", "were done"),
    ("test_what_is_told_is_answered_when_it_is_asked_for", "told", "tell() was answered"),
    ("test_a_cancelled_response_ends_in_time", "late", "Speech came after cancel()"),
    ("test_a_cancelled_response_ends_in_time", "again", "was done twice"),
    ("test_a_cancelled_response_ends_in_time", "cancelled", "was cancelled too"),
    ("test_cancel_and_truncate_without_a_response_do_nothing", "mute", "no Speech came"),
    ("test_the_pieces_of_an_item_follow_each_other", "items", "pieces of items are mixed"),
    ("test_the_events_end_when_the_session_is_closed", "endless", "did not end after close()"),
    ("test_a_session_may_be_closed_twice_and_used_after_it", "close", "closed twice"),
    ("test_two_sessions_at_once_do_not_mix", "mix", "ResponseDone of one call came in another"),
    ("test_a_lost_connection_is_raised_by_the_events_alone", "raw", "ended with OSError"),
    ("test_a_lost_connection_is_raised_by_the_events_alone", "kept", "did not raise the loss"),
]


@pytest.mark.parametrize("check", sorted(checks_of(RealtimeModelContract)))
def test_a_service_that_keeps_the_contract_passes(check: str) -> None:
    getattr(contract(), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: Any, text: str) -> None:
    assert_fails(contract(fault), check, text)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("test_cancel_and_truncate_without_a_response_do_nothing", "cancel"),
        ("test_a_session_may_be_closed_twice_and_used_after_it", "closed"),
        ("test_a_lost_connection_is_raised_by_the_events_alone", "loud"),
    ],
)
def test_an_error_out_of_its_place_fails(check: str, fault: str) -> None:
    with pytest.raises(ServiceError):
        getattr(contract(fault), check)()


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == checks_of(RealtimeModelContract)
