import asyncio
from typing import Any

import pytest

from mediaserver import Stream
from mediaserver.call import Heard
from mediaserver.sandbox import Phone
from tests.idle_call import called, idle_call, now, tone


pytestmark = pytest.mark.usefixtures("nothing_blocks")


def test_seconds_heard_grow_while_the_audio_plays() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[float, bool]:
        playback = await stream.play(tone(2))
        await phone.wait_until(0.5)
        return playback.seconds_heard, playback.interrupted

    seconds, interrupted = called(test)
    assert seconds == pytest.approx(0.5, abs=0.03)
    assert not interrupted


def test_two_may_wait_for_the_same_audio() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        playback = await stream.play(tone(0.5))
        return await asyncio.gather(playback.heard(), playback.heard())

    assert called(test) == [Heard(0.5, interrupted=False, confirmed=True)] * 2


def test_heard_may_be_asked_again() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[Heard, Heard]:
        playback = await stream.play(tone(0.5))
        return await playback.heard(), await playback.heard()

    first, second = called(test)
    assert first == second


def test_heard_ends_at_an_interruption() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[Heard, float]:
        playback = await stream.play(tone(5))
        waiting = asyncio.create_task(playback.heard())
        await phone.wait_until(1.0)
        stream.interrupt()
        return await waiting, now()

    heard, ended = called(test)
    assert heard.interrupted
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    assert ended == pytest.approx(1.0, abs=0.02)


def test_heard_ends_with_the_call() -> None:
    async def test(stream: Stream, phone: Phone) -> Heard:
        playback = await stream.play(tone(5))
        waiting = asyncio.create_task(playback.heard())
        await phone.wait_until(1.0)
        await phone.hang_up()
        return await waiting

    heard = called(test)
    assert heard.interrupted
    assert heard.seconds == pytest.approx(1.0, abs=0.03)


def test_heard_that_is_given_up_disturbs_nobody() -> None:
    async def test(stream: Stream, phone: Phone) -> Heard:
        playback = await stream.play(tone(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(playback.heard(), 0.1)
        return await playback.heard()

    assert called(test).confirmed


def test_when_audio_is_heard_is_told_on_the_calls_clock() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        await phone.wait_until(1.0)
        first = await stream.play(tone(0.5))
        second = await stream.play(tone(0.5))
        assert first.begins_at is not None
        assert first.begins_at == pytest.approx(stream.clock(), abs=0.001)
        assert second.begins_at == pytest.approx(first.begins_at + 0.5, abs=0.001)
        await phone.wait_until(3.0)
        assert phone.report().agent_speech[0][0] == pytest.approx(1.0, abs=0.03)
        assert first.begins_at == pytest.approx(1.0, abs=0.03)

    called(test)


def test_audio_that_was_dropped_is_never_heard() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        generation = stream.generation
        await stream.play(tone(0.5))
        await phone.wait_until(0.1)
        stream.interrupt()
        assert (await stream.play(tone(0.5), generation=generation)).begins_at is None

    called(test)


def test_a_playback_that_is_extended_is_of_all_its_pieces() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        whole = await stream.play(tone(0.5))
        whole.extend(await stream.play(tone(0.5)))
        assert await whole.heard() == Heard(1.0, interrupted=False, confirmed=True)
        assert whole.seconds_heard == 1.0

    called(test)


def test_a_playback_is_cut_short_by_a_piece_that_came_too_late() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        whole = await stream.play(tone(0.1))
        generation = stream.generation
        await asyncio.sleep(0.5)
        stream.interrupt()
        whole.extend(await stream.play(tone(0.1), generation=generation))
        assert (await whole.heard()).interrupted
        assert whole.seconds_heard == pytest.approx(0.1)

    called(test)


def test_a_playback_is_not_extended_by_what_was_played_before() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        first, second = await stream.play(tone(0.1)), await stream.play(tone(0.1))
        with pytest.raises(ValueError, match="played after it"):
            second.extend(first)

    called(test)


def test_a_playback_is_not_extended_by_one_of_another_stream() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        async with idle_call() as other:
            playback = await other.stream.play(tone(0.1))
            with pytest.raises(ValueError, match="same stream"):
                (await stream.play(tone(0.1))).extend(playback)

    called(test)
