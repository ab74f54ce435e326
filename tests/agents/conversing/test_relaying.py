import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_24K, MULAW_8K, AudioFormat
from mediaserver import Playback, Stream
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.relaying import Portion, Relay
from mediaserver.agents.services import Speech, SpokenText
from mediaserver.call import Frame
from mediaserver.testing import JoinedCall, joined, run_virtual


def speech(item_id: str, seconds: float, format: AudioFormat = MULAW_8K) -> Speech:
    samples = (8000 * np.sin(np.arange(round(seconds * format.rate)) * 0.4)).astype(np.int16)
    return Speech(item_id, Frame(format.encode(samples), format))


def portion(item_id: str, seconds: float) -> Portion:
    about: Any = pytest.approx(seconds)
    return Portion(item_id, about)


def relayed(
    work: Callable[..., Any], **phone: Any
) -> tuple[Conversation, list[Any]] | tuple[Conversation, list[Playback]]:
    """Run `work` with a relay to a phone."""

    async def handler(stream: Stream) -> None:
        async for _ in stream.controls():
            pass

    async def call() -> Conversation:
        tasks = []

        def start(feed: Coroutine[Any, Any, Any], name: str) -> Any:
            tasks.append(asyncio.create_task(feed, name=name))
            return tasks[-1]

        async with joined(handler, **phone) as line:
            conversation = Conversation()
            relay = Relay(line.stream, saying=conversation.say, start=start, began=playbacks.append)
            await work(relay, line)
            for task in tasks:
                task.cancel()
            line.stream.close()
        return conversation

    playbacks: list[Any] = []
    return run_virtual(call()), playbacks


def test_what_comes_far_ahead_of_the_ear_holds_nothing_up_and_all_of_it_is_heard() -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        before = asyncio.get_running_loop().time()
        for _ in range(100):
            await relay.play(speech("a", 0.1))
        assert asyncio.get_running_loop().time() == before
        relay.write(SpokenText("a", "All of it."))
        relay.complete()
        await relay.heard()
        assert relay.settle() == ("All of it.", [portion("a", 10.0)])
        assert line.phone.report().audio_played == pytest.approx(10.0)
        assert line.phone.report().gaps == []

    _, playbacks = relayed(work)
    assert len(playbacks) == 1


@pytest.mark.parametrize("at", [0.0, 0.31, 1.7, 4.2])
def test_an_interruption_tells_how_much_of_each_item_was_heard(at: float) -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        start = line.phone.time
        for item_id in ("a", "b"):
            for _ in range(20):
                await relay.play(speech(item_id, 0.1))
        await line.phone.wait_until(start + at)
        line.stream.interrupt()
        _, portions = relay.settle()
        await line.phone.wait_until(start + at + 0.5)
        heard = line.phone.report().audio_played
        assert sum(portion.seconds for portion in portions) == pytest.approx(heard, abs=0.06)
        first, second = portions
        assert first.seconds == pytest.approx(min(heard, 2.0), abs=0.06)
        assert second.seconds < 2.001

    relayed(work)


def test_nothing_is_played_after_it_was_settled() -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        for _ in range(50):
            await relay.play(speech("a", 0.1))
        await line.phone.wait_until(line.phone.time + 0.5)
        line.stream.interrupt()
        relay.settle()
        await line.phone.wait_until(line.phone.time + 1.0)
        assert line.phone.report().audio_played < 0.7
        await relay.play(speech("a", 0.1))
        await line.phone.wait_until(line.phone.time + 1.0)
        assert line.phone.report().audio_played < 0.7

    relayed(work)


def test_the_conversation_has_the_words_as_they_come_and_then_those_that_were_heard() -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        relay.write(SpokenText("a", "One two "))
        relay.write(SpokenText("a", "three four."))
        texts.append(relay.settle()[0])

    texts: list[Any] = []
    conversation, _ = relayed(work)
    assert texts == [""]
    assert conversation.messages == []


def test_audio_of_another_rate_counts_by_its_own_length() -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        for _ in range(10):
            await relay.play(speech("a", 0.1, L16_24K))
        relay.complete()
        await relay.heard()
        assert relay.settle()[1] == [portion("a", 1.0)]

    relayed(work)


def test_pieces_that_were_cut_within_samples_are_heard_whole() -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        audio = speech("a", 1.0, L16_24K).frame.payload + b"\x7f"
        for start in range(0, len(audio), 4063):
            await relay.play(Speech("a", Frame(audio[start : start + 4063], L16_24K)))
        relay.complete()
        await relay.heard()
        assert relay.settle()[1] == [portion("a", 1.0)]
        assert line.phone.report().audio_played == pytest.approx(1.0, abs=0.01)

    relayed(work, format=L16_24K)


def test_what_others_say_holds_no_event_up_and_is_heard_first() -> None:
    async def beeps() -> AsyncIterator[Any]:
        for _ in range(5):
            yield speech("", 0.2).frame
            await asyncio.sleep(0.1)

    async def work(relay: Relay, line: JoinedCall) -> None:
        saying = asyncio.create_task(line.stream.say(beeps()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        before = asyncio.get_running_loop().time()
        for _ in range(5):
            await relay.play(speech("a", 0.1))
        assert asyncio.get_running_loop().time() == before
        await relay.heard()
        begins_at = (await saying).begins_at
        assert begins_at is not None
        assert playback_of(relay).begins_at == pytest.approx(begins_at + 1.0, abs=0.01)

    relayed(work)


def test_what_others_play_is_heard_after_what_has_come() -> None:
    async def work(relay: Relay, line: JoinedCall) -> None:
        for _ in range(50):
            await relay.play(speech("a", 0.1))
            await asyncio.sleep(0)
        other = await line.stream.play(speech("", 0.5).frame)
        await other.heard()
        first = playback_of(relay).begins_at
        assert first is not None
        assert other.begins_at == pytest.approx(first + 5.0, abs=0.01)
        assert relay.settle()[1] == [portion("a", 5.0)]

    relayed(work)


def playback_of(relay: Relay) -> Playback:
    (item,) = relay._items.values()  # noqa: SLF001
    return item._playbacks[0]  # noqa: SLF001
