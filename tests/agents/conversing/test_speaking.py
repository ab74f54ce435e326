"""A speaker on a live stream, in virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from audiocodecs import AudioFormat
from mediaserver import Playback, Stream
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.sentence_voice import SentenceSession
from mediaserver.agents.conversing.speaking import Speaker
from mediaserver.agents.services import ServiceError, Text
from mediaserver.call import Frame
from mediaserver.sandbox import CallReport
from mediaserver.testing import JoinedCall, joined, run_virtual
from mediaserver.testing.services import Fault, TimedSpeech, Timing


class Talk:
    def __init__(self, line: JoinedCall, tts: TimedSpeech) -> None:
        self.line = line
        self.stream = line.stream
        self.tts = tts
        self.conversation = Conversation()
        self.saying = self.conversation.say()
        self.began: list[Any] = []
        self.tasks: list[Any] = []
        self.session = SentenceSession(tts, self.stream.format, 5.0)
        self.speaker = Speaker(
            self.stream, self.session.begin, start=self.start, began=self.began.append
        )

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> Any:
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    async def say(self, *texts: Any) -> None:
        for text in texts:
            await self.speaker.say(text, self.saying)


def talk(
    script: Callable[..., Any], tts: TimedSpeech | None = None
) -> tuple[CallReport, TimedSpeech]:
    """Run `script(talk)`, and return the phone's report and the synthesis."""
    tts = tts or TimedSpeech()

    async def handler(stream: Stream) -> None:
        async for _ in stream.audio():
            pass

    @asynccontextmanager
    async def talking(line: JoinedCall) -> AsyncIterator[Any]:
        talk = Talk(line, tts)
        yield talk
        talk.speaker.settle()
        await talk.session.close()
        await asyncio.gather(*talk.tasks, return_exceptions=True)

    async def main() -> CallReport:
        async with joined(handler) as line, talking(line) as each:
            await script(each)
            return line.phone.report()

    report = run_virtual(main())
    assert tts.open == 0
    return report, tts


def test_heard_returns_when_all_was_heard() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three. ", "Four five.")
        await talk.speaker.heard()
        heard_at.append(talk.line.phone.time)
        assert talk.speaker.settle() == "One two three. Four five."

    heard_at: list[Any] = []
    report, _ = talk(script)
    assert heard_at[0] >= report.agent_speech[-1][1] - 0.02


def test_the_first_audio_is_played_in_the_moment_in_which_it_comes() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three.")
        await asyncio.sleep(0.2)
        assert talk.began[0].begins_at == pytest.approx(talk.tts.first_piece[0], abs=0.001)

    talk(script)


def test_began_is_told_once() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One. ", "Two. ", "Three.")
        await talk.speaker.heard()
        assert len(talk.began) == 1

    talk(script)


def test_sentences_keep_their_order_though_the_second_is_made_sooner() -> None:
    class Uneven(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            self.timing = Timing(1.0 if text.startswith("One") else 0.0, 0.01)
            async for piece in super().speak(text, format):
                yield piece

    async def script(talk: Talk) -> None:
        await talk.say("One two. ", "Three four.")
        await asyncio.sleep(1.9)
        assert talk.speaker.settle() == "One two. Three"

    talk(script, Uneven())


def test_saying_waits_when_two_sentences_are_being_made() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One. ", "Two. ")
        third = asyncio.create_task(talk.say("Three."))
        await asyncio.sleep(0.1)
        assert not third.done()
        assert talk.tts.texts == ["One. ", "Two. "]
        await third
        assert talk.line.phone.time == pytest.approx(0.15 + 0.02, abs=0.05)

    talk(script)


def test_what_was_interrupted_is_settled_at_once() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three four five six. ", "Seven.")
        await asyncio.sleep(1.25)
        talk.stream.interrupt()
        assert talk.speaker.settle() == "One two three four"
        assert talk.conversation.messages == [Text("assistant", "One two three four")]
        await asyncio.sleep(1.0)

    report, _ = talk(script)
    assert report.agent_speech[-1][1] < 1.3


def test_nothing_is_played_after_an_interruption_that_came_before_the_audio() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three.")
        await asyncio.sleep(0.05)
        talk.stream.interrupt()
        await asyncio.sleep(2.0)
        assert talk.began == []
        assert talk.speaker.settle() == ""

    report, _ = talk(script)
    assert report.audio_played == 0


def test_a_failure_comes_out_of_what_waits() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three four five six.")
        with pytest.raises(ServiceError, match="gone"):
            await talk.speaker.heard()
        # And only once: something else may be said, as an apology.
        talk.tts.fault = None
        await talk.say("Sorry.")
        await talk.speaker.heard()
        assert talk.speaker.settle().endswith("Sorry.")

    talk(script, TimedSpeech(fault=Fault(after=5, error=ServiceError("text_to_speech", "gone"))))


def test_a_failure_of_the_next_sentence_lets_the_first_be_heard() -> None:
    class SecondFails(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if text.startswith("Two"):
                raise ServiceError("text_to_speech", "gone")
            async for piece in super().speak(text, format):
                yield piece

    async def script(talk: Talk) -> None:
        await talk.say("One one one one. ", "Two.")
        with pytest.raises(ServiceError, match="gone"):
            await talk.speaker.heard()
        await talk.speaker.heard()
        assert talk.speaker.settle() == "One one one one."

    talk(script, SecondFails())


def test_silence_of_a_synthesis_that_yields_nothing_is_borne() -> None:
    class Mute(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if not text:
                yield

    async def script(talk: Talk) -> None:
        await talk.say("... ", "... ", "...")
        await talk.speaker.heard()
        assert talk.speaker.settle() == ""

    talk(script, Mute())


def test_what_is_said_after_the_end_is_not_said() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One.")
        await asyncio.sleep(0.01)
        talk.speaker.settle()
        await talk.say("Two.")
        await talk.speaker.heard()
        assert talk.tts.texts == ["One."]
        assert talk.saying.text == ""

    talk(script)


def test_who_waits_is_told_that_it_is_over() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three four five six. ", "Seven.")
        heard = asyncio.create_task(talk.speaker.heard())
        third = asyncio.create_task(talk.say("Eight."))
        await asyncio.sleep(0.2)
        talk.stream.interrupt()
        talk.speaker.settle()
        await talk.session.close()
        await asyncio.gather(heard, third)
        assert "Eight" not in talk.saying.text

    talk(script, TimedSpeech(timing=Timing(0.15, 0.09)))


def test_an_apology_does_not_mix_with_what_was_given_up() -> None:
    class Breaks(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if not text.startswith("Broken"):
                async for piece in super().speak(text, format):
                    yield piece
                return
            for _ in range(40):
                yield Frame(broken, format)
            await asyncio.sleep(1.0)
            raise ServiceError("text_to_speech", "gone")

    async def script(talk: Talk) -> None:
        play = talk.stream.play

        async def noted(frame: Frame, **options: Any) -> Playback:
            playback = await play(frame, **options)
            played.append(frame.payload == broken)
            return playback

        stream: Any = Noting(talk.line.stream, noted)
        talk.speaker._stream = stream
        await talk.say("One. ", "Broken sentence. ")
        with pytest.raises(ServiceError, match="gone"):
            await talk.speaker.heard()
        await talk.say("Sorry for this.")
        await talk.speaker.heard()

    class Noting:
        def __init__(self, stream: Stream, play: Callable[..., Any]) -> None:
            self.stream = stream
            self.play = play

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

    broken = bytes(800)
    played: list[Any] = []
    talk(script, Breaks())
    # One change from the first sentence to the second, and one to the apology.
    assert sum(one != other for one, other in pairwise(played)) == 2


BEEP = np.full(1600, 9000, np.int16)


def test_what_others_play_is_heard_after_the_text() -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three four.", " Five six.")
        await asyncio.sleep(0.2)  # the first sentence is being made
        await talk.speaker.end()
        beep = await talk.stream.play(BEEP)
        await talk.speaker.heard()
        assert beep.begins_at == pytest.approx(talk.began[0].begins_at + 1.8, abs=0.01)
        assert talk.speaker.settle() == "One two three four. Five six."

    talk(script)


def test_a_sentence_waits_for_what_others_say() -> None:
    async def beeps() -> AsyncIterator[Any]:
        for _ in range(5):
            yield BEEP
            await asyncio.sleep(0.1)

    async def script(talk: Talk) -> None:
        saying = asyncio.create_task(talk.stream.say(beeps()))
        await asyncio.sleep(0)
        await talk.say("One two three four.")
        await talk.speaker.heard()
        begins_at = (await saying).begins_at
        assert begins_at is not None
        assert talk.began[0].begins_at == pytest.approx(begins_at + 1.0, abs=0.01)

    talk(script)


@pytest.mark.parametrize("how", ["settled", "failed"])
def test_a_sentence_that_is_given_up_keeps_nobody_out(how: str) -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three four.")
        await asyncio.sleep(0.2)
        if how == "settled":
            talk.speaker.settle()
        async with asyncio.timeout(8):
            await talk.stream.play(BEEP)

    talk(
        script,
        TimedSpeech(timing=Timing(0.15, 30.0))
        if how == "settled"
        else TimedSpeech(fault=Fault(after=2)),
    )


def test_those_that_follow_are_told_which_words_are_heard_and_when(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(talk: Talk) -> None:
        await talk.say("One two three. ", "Four five.")
        await talk.speaker.heard()

    told: list[tuple[float, str]] = []

    def decided(stream: Stream, what: str, /, **details: Any) -> None:
        if what == "spoken":
            told.append((stream.clock() + details["heard_in"], details["words"]))

    monkeypatch.setattr(Stream, "followed", True)
    monkeypatch.setattr(Stream, "decided", decided)
    report, _ = talk(script)
    assert "".join(words for _, words in told) == "One two three. Four five."
    assert sorted(told, key=lambda each: each[0]) == told
    assert told[-1][0] == pytest.approx(report.agent_speech[-1][1], abs=0.02)
