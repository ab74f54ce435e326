"""What is understood of a call whose recogniser's sessions are lost and replaced."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.ear import Ear
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.services import RecognizedWords, ServiceError, Transcript
from mediaserver.call import Frame
from mediaserver.testing.recognizer import ToneRecognizer


VOCABULARY = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
BUSY = ServiceError("tones", "busy", status=503)
REFUSED = ServiceError("tones", "wrong key", status=401)
PREROLL = 0.2


def frames(audio: Any) -> list[Frame]:
    payload = MULAW_8K.encode(audio)
    return [Frame(payload[at : at + 160], MULAW_8K) for at in range(0, len(payload), 160)]


class Call:
    """A call whose caller is heard by an ear, as a listener would have it."""

    def __init__(self, recognizer: Any, *, patience: float = 2.0, **settings: Any) -> None:
        self.recognizer = recognizer
        self.lost: list[str] = []
        self.told: list[Transcript] = []
        self.ended = False
        self.ear = Ear(
            recognizer,
            patience=patience,
            lost=lambda error: self.lost.append(str(error)),
            ended=lambda: self.ended,
            **settings,
        )
        self._recent = frames(np.zeros(round(PREROLL * 8000), np.int16))

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = CallTasks(group, "call", plainly)
            self.ear.open(tasks, MULAW_8K)
            await asyncio.sleep(0.02)
            yield
            self.ended = True
            tasks.end()
            await tasks.cancel()
            await self.ear.close()

    async def quiet(self, seconds: float) -> None:
        for frame in frames(np.zeros(round(seconds * 8000), np.int16)):
            await self.hear(frame)

    async def hear(self, frame: Frame) -> None:
        self.ear.hear(frame)
        self._recent = [*self._recent[1:], frame]
        await asyncio.sleep(frame.seconds)

    async def say(self, text: str, *, then: Any = None, at: float = 0.5) -> str:
        """Say something, and return what was understood; `then` happens `at` seconds later."""
        audio = frames(self.recognizer.say(text))
        self.ear.hear(audio[0])
        utterance = Utterance([*self._recent, audio[0]], started_at=0.0)
        self.ear.begin(utterance)
        await asyncio.sleep(0.02)
        understood = asyncio.create_task(self._understand(utterance))
        quiet = frames(np.zeros(4800, np.int16))
        for count, frame in enumerate([*audio[1:], *quiet], 1):
            if then is not None and count == round(at / 0.02):
                then()
            utterance.put(frame)
            await self.hear(frame)
        utterance.quiet = 0.66
        utterance.end()
        return await understood

    async def _understand(self, utterance: Utterance) -> str:
        text = ""
        async for transcript in self.ear.transcripts(utterance):
            self.told.append(transcript)
            text = transcript.text
        return text


async def plainly(work: Coroutine[Any, Any, None]) -> None:
    await work


def tones(**settings: Any) -> ToneRecognizer:
    return ToneRecognizer(VOCABULARY, **settings)


async def test_each_utterance_has_its_words() -> None:
    call = Call(tones())
    async with call.started():
        await call.quiet(1.0)
        assert await call.say("one two three") == "one two three"
        await call.quiet(0.5)
        assert await call.say("four five") == "four five"
    assert call.recognizer.open == 0
    assert [each.final for each in call.told].count(True) == 2


async def test_words_are_told_while_the_caller_speaks() -> None:
    call = Call(tones())
    async with call.started():
        await call.say("one two three")
    assert [each.text for each in call.told[:3]] == ["one", "one two", "one two three"]
    assert not any(each.final for each in call.told[:-1])


async def test_final_words_that_came_before_the_end_are_used_at_the_end() -> None:
    call = Call(tones(final_after=0.1))
    async with call.started():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await call.say("one two")
        # 0.6 s of speech, and 0.6 s until the turn is over.
        assert loop.time() - began == pytest.approx(1.2, abs=0.03)


async def test_otherwise_the_session_is_asked_to_finish() -> None:
    call = Call(tones(final_after=None, delay=0.15))
    async with call.started():
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await call.say("one two") == "one two"
        assert loop.time() - began == pytest.approx(1.35, abs=0.03)
        assert call.recognizer.session.finishes == 1


async def test_a_continuous_session_hears_everything() -> None:
    call = Call(tones())
    async with call.started():
        await call.quiet(2.0)
        await call.say("one")
        assert call.recognizer.session.heard == pytest.approx(2.9, abs=0.05)


@pytest.mark.parametrize(
    ("settings", "recognizer"),
    [({"speech_only": True}, tones()), ({}, tones(continuous=False))],
)
async def test_silence_is_not_sent_if_that_is_wanted(
    settings: dict[str, Any], recognizer: ToneRecognizer
) -> None:
    call = Call(recognizer, **settings)
    async with call.started():
        await call.quiet(2.0)
        assert await call.say("one") == "one"
        await call.quiet(2.0)
        assert await call.say("two three") == "two three"
        spoken = 0.3 + 0.6 + 2 * (PREROLL + 0.6)
        assert recognizer.session.heard == pytest.approx(spoken, abs=0.07)


# Sessions that are lost.


@pytest.mark.parametrize("at", [0.1, 0.25, 0.5, 0.71, 1.1, 1.6, 2.0])
@pytest.mark.parametrize("final_after", [0.02, None])
@pytest.mark.parametrize("continuous", [True, False])
async def test_when_a_session_is_lost_no_word_is_lost_and_none_doubled(
    at: float, final_after: float | None, continuous: bool
) -> None:
    call = Call(tones(final_after=final_after, continuous=continuous))
    async with call.started():
        await call.quiet(1.0)
        said = "one two three four five"
        assert await call.say(said, then=lambda: call.recognizer.session.lose(), at=at) == said
        await call.quiet(1.0)
        assert await call.say("six seven") == "six seven"
    assert len(call.recognizer.sessions) == 2
    assert call.lost == ["tones: the connection was lost"]
    assert call.recognizer.open == 0


async def test_a_session_that_breaks_while_nobody_speaks_is_replaced_at_once() -> None:
    call = Call(tones())
    async with call.started():
        await call.quiet(6.0)
        call.recognizer.session.lose()
        await call.quiet(1.0)
        assert len(call.recognizer.sessions) == 2
        # It hears no more of the silence before than a caller who was not noticed yet may need.
        assert 4.0 <= call.recognizer.session.heard < 4.6
        assert await call.say("one two") == "one two"


async def test_sessions_that_do_not_last_are_not_opened_again_and_again() -> None:
    call = Call(tones())
    async with call.started():
        call.recognizer.session.lose()
        await call.quiet(3.0)
        assert call.recognizer.attempts == 1
        assert await call.say("one") == "one"
        assert call.recognizer.attempts == 2


async def test_an_utterance_that_loses_three_sessions_is_given_up() -> None:
    class Hopeless(ToneRecognizer):
        async def listen(self, format: Any) -> Any:
            session = await super().listen(format)
            session.lose()
            return session

    call = Call(Hopeless(VOCABULARY))
    async with call.started():
        with pytest.raises(ServiceError, match="the connection was lost"):
            await call.say("one two")
    assert 3 <= call.recognizer.attempts <= 4


async def test_attempts_are_repeated_and_what_was_said_meanwhile_is_understood() -> None:
    call = Call(tones(refusals=[BUSY, BUSY]))
    async with call.started():
        assert await call.say("one two three") == "one two three"
    assert call.recognizer.attempts == 3


async def test_an_utterance_fails_if_no_session_can_be_had_and_the_next_tries_anew() -> None:
    call = Call(tones(refusals=[BUSY] * 6))
    async with call.started():
        await call.quiet(2.0)
        assert call.recognizer.attempts == 3
        with pytest.raises(ServiceError, match="busy"):
            await call.say("one two three four five six")
        assert call.recognizer.attempts == 6
        assert await call.say("seven") == "seven"


async def test_a_wrong_key_is_not_tried_again() -> None:
    call = Call(tones(refusals=[REFUSED] * 2))
    async with call.started():
        await call.quiet(2.0)
        with pytest.raises(ServiceError, match="wrong key"):
            await call.say("one two")
        assert call.recognizer.attempts == 2


async def test_a_session_that_does_not_answer_is_replaced_and_the_utterance_fails() -> None:
    def stall() -> None:
        call.recognizer.session.stalled = True

    call = Call(tones(final_after=None), patience=2.0)
    async with call.started():
        with pytest.raises(ServiceError, match="no transcript within 2 s"):
            await call.say("one two", then=stall)
        assert await call.say("three") == "three"
    assert len(call.recognizer.sessions) == 2


async def test_a_session_that_takes_no_audio_is_replaced() -> None:
    class Stuck(ToneRecognizer):
        async def listen(self, format: Any) -> Any:
            session = await super().listen(format)
            if len(self.sessions) == 1:
                session.hear = lambda frame: asyncio.sleep(3600)  # type: ignore[method-assign]
            return session

    call = Call(Stuck(VOCABULARY))
    async with call.started():
        await call.quiet(31.0)
        assert call.lost == ["speech_to_text: it has taken no audio for 30 s"]
        assert await call.say("one") == "one"


async def test_any_exception_of_a_session_is_its_loss() -> None:
    call = Call(tones())
    async with call.started():
        await call.say("one", then=lambda: call.recognizer.session.lose(KeyError("channel")))
    assert call.lost == ["speech_to_text: KeyError: 'channel'"]


# Sessions that end by themselves.


async def test_a_session_is_replaced_in_a_pause_before_it_expires() -> None:
    call = Call(tones(expires_after=10.0))
    async with call.started():
        await call.quiet(7.8)
        assert await call.say("one two three four") == "one two three four"
        assert len(call.recognizer.sessions) == 1
        await call.quiet(0.1)
        first, _ = call.recognizer.sessions
        assert first.closed
        assert await call.say("five") == "five"
    assert call.lost == []


async def test_a_caller_who_does_not_pause_loses_no_word_either() -> None:
    call = Call(tones(expires_after=3.0, final_after=None))
    said = "one two three four five six seven eight one two three four"
    async with call.started():
        assert await call.say(said) == said
    assert len(call.recognizer.sessions) == 2
    assert call.lost == []


# Before the stream.


async def test_a_session_may_be_opened_before_the_stream() -> None:
    call = Call(tones())
    await call.ear.prepare(MULAW_8K)
    async with call.started():
        assert await call.say("one") == "one"
        await call.ear.prepare(MULAW_8K)
    assert call.recognizer.attempts == 1


async def test_a_session_that_was_opened_for_another_format_is_replaced() -> None:
    call = Call(tones())
    await call.ear.prepare(L16_16K)
    async with call.started():
        assert await call.say("one") == "one"
    first, second = call.recognizer.sessions
    assert (first.closed, second.format) == (True, MULAW_8K)


async def test_a_session_whose_stream_never_came_is_closed() -> None:
    call = Call(tones())
    await call.ear.prepare(MULAW_8K)
    await call.ear.close()
    assert call.recognizer.open == 0


async def test_the_seconds_that_are_charged_are_told_with_the_words() -> None:
    call = Call(tones(final_after=None))
    async with call.started():
        await call.quiet(1.0)
        call.recognizer.session.tell(RecognizedWords("", 0.0, 1.0, final=True, seconds=1.0))
        await call.quiet(0.2)
        await call.say("one")
    assert sum(each.seconds for each in call.told) == pytest.approx(1.0 + 2.1, abs=0.05)


async def test_words_are_awaited_for_only_so_long_however_much_else_is_told() -> None:
    call = Call(tones(final_after=None, delay=60.0))
    async with call.started():
        loop = asyncio.get_running_loop()
        understood = asyncio.create_task(call.say("one"))
        while not understood.done():
            call.recognizer.session.tell(RecognizedWords("on", 0.0, 9.0))
            await asyncio.sleep(0.1)
        with pytest.raises(ServiceError, match="no transcript within 2 s"):
            await understood
        assert loop.time() == pytest.approx(0.02 + 0.9 + 2.0, abs=0.15)


async def test_a_word_of_a_moment_is_awaited_though_others_were_final_just_before() -> None:
    call = Call(tones(final_after=None, delay=0.1))
    async with call.started():
        await call.quiet(0.5)
        call.recognizer.session.tell(RecognizedWords("", 0.0, 0.45, final=True))
        assert await call.say("one") == "one"


class InPieces(ToneRecognizer):
    """Has sessions that want 80 ms of audio at a time."""

    async def listen(self, format: AudioFormat) -> Any:
        session: Any = await super().listen(format)
        session.piece = 0.08
        hear, self.times = session.hear, list[float]()

        async def noted(frame: Frame) -> None:
            self.times.append(round(asyncio.get_running_loop().time(), 3))
            await hear(frame)

        session.hear = noted
        return session


async def test_a_session_that_sends_pieces_is_given_so_much_at_a_time_and_the_rest_at_the_end() -> (
    None
):
    recognizer = InPieces(VOCABULARY, final_after=None)
    call = Call(recognizer)
    async with call.started():
        await call.quiet(0.4)
        counts = [recognizer.times.count(time) for time in dict.fromkeys(recognizer.times)]
        assert counts == [4, 4, 4, 4, 4]
        await call.quiet(0.02)
        assert await call.say("one two three") == "one two three"
        assert len(recognizer.times) == round((0.42 + 0.9 + 0.6) / 0.02)
        assert await call.say("four") == "four"
