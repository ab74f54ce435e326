"""What every `RealtimeModel` must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import SkipTest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    RealtimeEvent,
    RealtimeModel,
    RealtimeSession,
    ResponseDone,
    Speech,
    Text,
    ToolSpec,
)
from mediaserver.testing.contract.service import (
    ODD_LENGTHS,
    FollowedEvents,
    ServiceContract,
    assert_whole,
)


_TOOLS = (
    ToolSpec(
        "weather",
        "The weather in a town.",
        {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    ),
)
_SETTLES = 0.5
"""Seconds in which nothing more may come of a response that was cancelled."""


class RealtimeModelContract(ServiceContract[RealtimeModel]):
    """The contract of a `RealtimeModel`: see `ServiceContract` for what a test says."""

    async def cut(self) -> None:
        """Have the server drop the connections of the service that `opened` made."""
        raise SkipTest("override cut() to have a lost connection checked")

    async def use(self, service: RealtimeModel) -> None:
        """Have the model greet."""
        async with self._connected(service) as talk:
            await talk.session.say("Greet the caller.")
            await talk.response(self)

    def test_a_call_of_mulaw_at_8_khz_is_answered(self) -> None:
        """The model hears and speaks."""
        self.run(lambda service: self._answers(service, MULAW_8K))

    def test_a_call_of_l16_at_8_khz_is_answered(self) -> None:
        """The model hears and speaks."""
        self.run(lambda service: self._answers(service, L16_8K))

    def test_a_call_of_l16_at_16_khz_is_answered(self) -> None:
        """The model hears and speaks."""
        self.run(lambda service: self._answers(service, L16_16K))

    def test_frames_may_have_any_length(self) -> None:
        """Frames of one sample and of half a second are heard."""
        self.run(lambda service: self._answers(service, MULAW_8K, ODD_LENGTHS))

    def test_each_response_is_done_once(self) -> None:
        """Two responses that are asked for at once end with a `ResponseDone` each."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await talk.session.say("Greet the caller.")
                await talk.session.say("Tell the time.")
                for _ in range(2):
                    await talk.response(self)
                await asyncio.sleep(_SETTLES)
                done = sum(isinstance(event, ResponseDone) for event in talk.left())
                assert not done, f"two responses were asked for, and {2 + done} were done"

        self.run(check)

    def test_what_is_told_is_answered_when_it_is_asked_for(self) -> None:
        """`tell` makes no response, and `respond` makes one."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await talk.session.tell(Text("user", "My name is Ann."))
                await asyncio.sleep(_SETTLES)
                early = [event for event in talk.left() if isinstance(event, Speech | ResponseDone)]
                assert not early, f"tell() was answered: {type(early[0]).__name__} came"
                await talk.session.respond()
                await talk.response(self)

        self.run(check)

    def test_a_cancelled_response_ends_in_time(self) -> None:
        """After `cancel` only a `ResponseDone` comes, and the next response is whole."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await talk.session.say("Tell a story.")
                await talk.until(self, Speech)
                await talk.session.cancel()
                talk.left()
                await asyncio.sleep(_SETTLES)
                late = [type(event).__name__ for event in talk.left()]
                wrong = [name for name in late if name in ("Speech", "SpokenText", "ToolCall")]
                assert not wrong, f"{wrong[0]} came after cancel()"
                assert late.count("ResponseDone") <= 1, "a cancelled response was done twice"
                await talk.session.say("Say goodbye.")
                done = (await talk.response(self))[-1]
                assert isinstance(done, ResponseDone)
                assert not done.cancelled, "the response after a cancelled one was cancelled too"

        self.run(check)

    def test_cancel_and_truncate_without_a_response_do_nothing(self) -> None:
        """A caller may interrupt just when the response has ended."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await talk.session.cancel()
                await talk.session.say("Greet the caller.")
                events = await talk.response(self)
                items = [event.item_id for event in events if isinstance(event, Speech)]
                await talk.session.cancel()
                assert items, "the model was to say something, and no Speech came"
                await talk.session.truncate(items[-1], 0.02)
                await talk.session.say("Say goodbye.")
                await talk.response(self)

        self.run(check)

    def test_the_pieces_of_an_item_follow_each_other(self) -> None:
        """An item that was followed by another one does not come again."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                items: list[str] = []
                for _ in range(2):
                    await talk.session.say("Greet the caller.")
                    for event in await talk.response(self):
                        if isinstance(event, Speech) and event.item_id not in items[-1:]:
                            items.append(event.item_id)
                assert len({*items}) == len(items), f"pieces of items are mixed: {items}"

        self.run(check)

    def test_the_events_end_when_the_session_is_closed(self) -> None:
        """They end without an error, and in time, also in the middle of a response."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await talk.session.say("Tell a story.")
                await talk.until(self, Speech)
                await talk.session.close()
                await self.in_time(talk.taken(), 2.0, "the events did not end after close()")

        self.run(check)

    def test_a_session_may_be_closed_twice_and_used_after_it(self) -> None:
        """Whatever comes too late is dropped: no method but `events` raises."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await talk.session.close()
                await talk.session.close()
                await _use_all(talk.session)

        self.run(check)

    def test_two_sessions_at_once_do_not_mix(self) -> None:
        """A session that was asked for nothing says nothing while another one speaks."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as one, self._connected(service) as other:
                await one.session.say("Greet the caller.")
                await one.response(self)
                await asyncio.sleep(_SETTLES)
                mixed = [type(event).__name__ for event in other.left()]
                assert not mixed, f"{mixed[0]} of one call came in another"

        self.run(check)

    def test_a_lost_connection_is_raised_by_the_events_alone(self) -> None:
        """`events` raises a `ServiceError`; no other method raises anything."""

        async def check(service: RealtimeModel) -> None:
            async with self._connected(service) as talk:
                await self.cut()
                await _use_all(talk.session)
                await self.in_time(talk.lost(), 2.0, "the events did not raise the loss")

        self.run(check)

    async def _answers(
        self, service: RealtimeModel, format: AudioFormat, lengths: tuple[int, ...] = ()
    ) -> None:
        async with self._connected(service, format) as talk:
            await talk.session.say("Greet the caller.")
            events = await talk.response(self)
            spoken = [event.frame for event in events if isinstance(event, Speech)]
            assert spoken, "the model was to say something, and no Speech came"
            for frame in spoken:
                assert_whole(frame)
            async for frame in self.spoken(self.frames(format, 1.0, lengths)):
                await talk.session.hear(frame)
            if not talk.session.takes_turns:
                await talk.session.end_turn()
                await talk.response(self)

    @asynccontextmanager
    async def _connected(
        self, service: RealtimeModel, format: AudioFormat = MULAW_8K
    ) -> AsyncIterator[_Talk]:
        session = await service.connect(prompt="Be brief.", tools=_TOOLS, format=format)
        talk = _Talk(session)
        try:
            yield talk
        finally:
            await session.close()
            await talk.stop()


class _Talk(FollowedEvents[RealtimeEvent]):
    """A session, and the events that came and were not taken yet."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self._events: asyncio.Queue[RealtimeEvent | None] = asyncio.Queue()
        put = self._events.put_nowait
        super().__init__(session.events(), put, lambda: put(None))

    async def response(self, contract: RealtimeModelContract) -> list[RealtimeEvent]:
        """Return the events up to the end of a response, which must not have failed."""
        events = await self.until(contract, ResponseDone)
        done = events[-1]
        assert isinstance(done, ResponseDone)
        assert done.error is None, f"the response failed: {done.error}"
        return events

    async def until(
        self, contract: RealtimeModelContract, kind: type[RealtimeEvent]
    ) -> list[RealtimeEvent]:
        """Return the events up to the next one of a kind."""

        async def wait() -> list[RealtimeEvent]:
            events: list[RealtimeEvent] = []
            while (event := await self._events.get()) is not None:
                events.append(event)
                if isinstance(event, kind):
                    return events
            self._task.result()
            raise AssertionError(f"the events ended, and no {kind.__name__} came")

        return await contract.in_time(wait(), 10.0, f"no {kind.__name__} came")

    def left(self) -> list[RealtimeEvent]:
        """Return the events that came meanwhile, and forget them."""
        events = []
        while not self._events.empty():
            if (event := self._events.get_nowait()) is not None:
                events.append(event)
        return events


async def _use_all(session: RealtimeSession) -> None:
    await session.tell(Text("user", "Hello?"))
    await session.end_turn()
    await session.say("Greet the caller.")
    await session.respond()
    await session.cancel()
