import asyncio
from typing import Any, cast

import pytest

from mediaserver import Stream
from mediaserver.call import Checkpoint, Frame, Interrupt
from mediaserver.protocol import Dtmf
from mediaserver.sandbox import Phone
from tests.idle_call import called, idle_call, listen, tone


pytestmark = pytest.mark.usefixtures("nothing_blocks")


def test_audio_yields_frames_until_the_end() -> None:
    async def test(stream: Stream, phone: Phone) -> list[Frame]:
        async def hang_up() -> None:
            await phone.wait_until(1.0)
            await phone.hang_up()

        ending = asyncio.create_task(hang_up())
        frames = [frame async for frame in stream.audio()]
        await ending
        return frames

    frames = called(test)
    assert 49 <= len(frames) <= 51
    assert [frame.chunk for frame in frames] == list(
        range(frames[0].chunk, frames[0].chunk + len(frames))
    )


@pytest.mark.parametrize("track", ["inbound", "outbound", None])
def test_audio_of_one_track_is_of_that_track(track: Any) -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        reader = stream.audio(track)
        await phone.wait_until(0.5)
        await phone.hang_up()
        await asyncio.sleep(0)
        tracks.extend([frame.track async for frame in reader])

    tracks: list[str] = []
    called(test, tracks=("inbound", "outbound"), bidirectional=False)
    assert len(tracks) >= 24
    assert set(tracks) == ({track} if track else {"inbound", "outbound"})


def test_a_track_that_no_stream_has_is_refused() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        with pytest.raises(ValueError, match="a track is 'inbound' or 'outbound', not 'both'"):
            stream.audio(cast(Any, "both"))

    called(test)


def test_audio_that_was_received_before_the_end_can_still_be_read() -> None:
    async def test(stream: Stream, phone: Phone) -> list[Frame]:
        reader = stream.audio()
        await phone.wait_until(0.5)
        await phone.hang_up()
        await asyncio.sleep(0)
        return [frame async for frame in reader]

    assert len(called(test)) >= 24


def test_audio_of_a_stream_that_has_ended_ends() -> None:
    async def test(stream: Stream, phone: Phone) -> list[Any]:
        await phone.hang_up()
        await asyncio.sleep(0)
        return [frame async for frame in stream.audio()]

    assert called(test) == []


def test_events_yields_everything_in_order() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        async def key() -> None:
            await phone.wait_until(0.1)
            phone.press("1")
            await phone.wait_until(0.2)
            await phone.hang_up()

        pressing = asyncio.create_task(key())
        events = [event async for event in stream.events()]
        await pressing
        return events

    events = called(test)
    (place,) = [index for index, event in enumerate(events) if isinstance(event, Dtmf)]
    assert 3 <= place <= 7
    assert all(isinstance(event, Frame) for event in events[:place] + events[place + 1 :])


def test_controls_yields_everything_but_audio() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        async def happen() -> None:
            phone.press("1")
            await phone.wait_until(0.1)
            await stream.play(tone(0.1))
            stream.checkpoint("end")
            await phone.wait_until(0.5)
            stream.interrupt()
            await phone.hang_up()

        happening = asyncio.create_task(happen())
        events = [event async for event in stream.controls()]
        await happening
        return events

    key, checkpoint, interrupt = called(test, handler=listen)
    assert key.digit == "1"
    assert checkpoint == Checkpoint("end", played=True)
    assert interrupt == Interrupt(0.0)


def test_controls_may_be_read_beside_audio() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        async def keys() -> list[str]:
            return [event.digit async for event in stream.controls() if isinstance(event, Dtmf)]

        async def frames() -> int:
            return len([frame async for frame in stream.audio()])

        reading = asyncio.gather(keys(), frames())
        phone.press("12")
        await phone.wait_until(0.5)
        await phone.hang_up()
        return await reading

    digits, count = called(test)
    assert digits == ["1", "2"]
    assert count >= 24


READERS = pytest.mark.parametrize(
    ("first", "second"),
    [
        ("audio", "audio"),
        ("audio", "events"),
        ("events", "audio"),
        ("events", "events"),
        ("events", "controls"),
        ("controls", "events"),
        ("controls", "controls"),
    ],
)


@READERS
def test_two_tasks_cannot_wait_at_one_stream(first: str, second: str) -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        if first == "controls":
            stream.ignore_audio()
        waiting = asyncio.create_task(anext(getattr(stream, first)()))
        await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError, match="is being read already"):
            getattr(stream, second)()
        waiting.cancel()

    called(test)


@READERS
def test_a_new_reader_takes_the_place_of_one_that_does_not_wait(first: str, second: str) -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        left = getattr(stream, first)()
        getattr(stream, second)()
        with pytest.raises(RuntimeError, match="another reader"):
            await anext(left)

    called(test)


def test_audio_and_controls_are_read_beside_each_other() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        controls = asyncio.create_task(anext(stream.controls()))
        frame = await anext(stream.audio())
        phone.press("5")
        return frame, await controls

    frame, event = called(test)
    assert frame.seconds == 0.02
    assert isinstance(event, Dtmf)


def test_a_reader_that_is_left_makes_way_for_the_next() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        first = await anext(stream.audio())
        second = await anext(stream.events())
        return first, second

    first, second = called(test)
    assert first.chunk < second.chunk


def test_a_reader_that_was_refused_takes_no_lane() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        controls = asyncio.create_task(anext(stream.controls()))
        await asyncio.sleep(0.001)
        audio = stream.audio()
        with pytest.raises(RuntimeError):
            stream.events()
        await anext(audio)
        controls.cancel()

    called(test)


@pytest.mark.parametrize("reader", ["events", "controls"])
def test_events_that_lead_to_events_leave_others_their_turn(reader: str) -> None:
    """An interruption is an event too: reacting to it by the next one would never end."""

    async def test(stream: Stream, phone: Phone) -> int:
        stream.ignore_audio()

        async def react() -> None:
            await stream.play(tone(0.1))
            stream.interrupt()
            async for _ in getattr(stream, reader)():
                await stream.play(tone(0.1))
                stream.interrupt()

        reacting = asyncio.create_task(react())
        await phone.wait_until(0.1)
        reacting.cancel()
        return stream.counters.interrupts

    # Virtual time passes only when nothing is ready, so real turns are counted here.
    async def main() -> int:
        async with idle_call() as line:
            return await test(line.stream, line.phone)

    assert asyncio.run(main()) > 0


def test_reading_with_a_timeout_loses_nothing() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        chunks: list[int | None] = []
        reader = stream.audio()
        while len(chunks) < 20:
            try:
                frame = await asyncio.wait_for(anext(reader), 0.007)
            except TimeoutError:
                continue
            chunks.append(frame.chunk)
        return chunks

    chunks = called(test)
    assert chunks == list(range(chunks[0], chunks[0] + 20))


def test_ignored_audio_is_not_counted_as_dropped() -> None:
    async def test(stream: Stream, phone: Phone) -> int:
        stream.ignore_audio()
        await phone.wait_until(3.0)
        return stream.counters.frames_dropped

    assert called(test) == 0


def test_ignored_audio_can_be_read_later() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        stream.ignore_audio()
        await phone.wait_until(1.0)
        frame = await anext(stream.audio())
        assert frame.chunk is not None
        return frame.chunk * 0.02

    assert called(test) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("reader", ["audio", "events", "controls"])
def test_a_second_task_at_one_reader_is_refused(reader: str) -> None:
    """It would take the first one's place, which would wait for ever."""

    async def test(stream: Stream, phone: Phone) -> None:
        stream.ignore_audio()
        events = getattr(stream, reader)()
        first = asyncio.create_task(anext(events))
        await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError, match="another task waits"):
            await anext(events)
        first.cancel()

    called(test)
