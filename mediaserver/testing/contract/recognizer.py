"""What every `Recognizer` must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar
from unittest import SkipTest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWords,
    Recognizer,
    RecognizerEvent,
    RecognizerSession,
    WordsComplete,
)
from mediaserver.testing.contract.service import ODD_LENGTHS, FollowedEvents, ServiceContract


T = TypeVar("T")

_TURNS = (CallerSpeaks, CallerMayHaveFinished, CallerGoesOn, CallerFinished)
_WITHIN = 5.0


class RecognizerContract(ServiceContract[Recognizer]):
    """The contract of a `Recognizer`: see `ServiceContract` for what a test says."""

    async def cut(self) -> None:
        """Have the server drop the connections of the service that `opened` made."""
        raise SkipTest("override cut() to have a lost connection checked")

    async def use(self, service: Recognizer) -> None:
        """Listen to an utterance."""
        async with self._listening(service) as heard:
            await heard.hear(self, 0.5)
            await heard.finish(self)

    def test_mulaw_at_8_khz_is_heard(self) -> None:
        """A session for mu-law at 8 kHz answers `finish`."""
        self.run(lambda service: self._hears(service, MULAW_8K))

    def test_l16_at_8_khz_is_heard(self) -> None:
        """A session for linear PCM at 8 kHz answers `finish`."""
        self.run(lambda service: self._hears(service, L16_8K))

    def test_l16_at_16_khz_is_heard(self) -> None:
        """A session for linear PCM at 16 kHz answers `finish`."""
        self.run(lambda service: self._hears(service, L16_16K))

    def test_frames_may_have_any_length(self) -> None:
        """Frames of one sample and of half a second are heard."""
        self.run(lambda service: self._hears(service, MULAW_8K, ODD_LENGTHS))

    def test_finish_without_audio_is_answered(self) -> None:
        """A caller may have said nothing."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                await heard.finish(self)

        self.run(check)

    def test_each_finish_is_answered_once_and_in_order(self) -> None:
        """As many `WordsComplete` come as `finish` was called, none of them before the audio."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                positions = []
                for _ in range(3):
                    await heard.hear(self, 0.5)
                    positions.append(heard.seconds)
                    await heard.session.finish()
                await heard.until_complete(self, 3)
                await asyncio.sleep(self.slack)
                answers = [each.through for each in heard.of(WordsComplete)]
                assert len(answers) == 3, f"finish was called 3 times, and answered {len(answers)}"
                for position, through in zip(positions, answers, strict=True):
                    assert through >= position - self.slack, (
                        f"finish was called after {position:.2f} s, and answered for {through:.2f}"
                    )

        self.run(check)

    def test_times_are_in_order_and_within_the_audio(self) -> None:
        """Final words follow each other, and no word was said before it was heard."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                for _ in range(2):
                    await heard.hear(self, 1.0)
                    await heard.finish(self)
                heard.assert_times(self.slack)

        self.run(check)

    def test_turns_are_told_by_a_session_that_takes_them(self) -> None:
        """A session without `takes_turns` tells of no turn; another tells of them in order."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                await heard.hear(self, 2.0)
                await heard.finish(self)
                heard.assert_turns()

        self.run(check)

    def test_a_session_says_when_it_expires(self) -> None:
        """`expires_after` is a time, or None."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                expires = heard.session.expires_after
                assert expires is None or expires > 0, f"expires_after is {expires}"

        self.run(check)

    def test_the_events_end_when_the_session_is_closed(self) -> None:
        """They end without an error, and in time."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                await heard.hear(self, 0.3)
                await heard.session.close()
                await self.in_time(heard.taken(), 2.0, "the events did not end after close()")

        self.run(check)

    def test_a_session_may_be_closed_twice_and_used_after_it(self) -> None:
        """Whatever comes too late is dropped: no method but `events` raises."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                await heard.session.close()
                await heard.session.close()
                await heard.hear(self, 0.1)
                await heard.session.finish()

        self.run(check)

    def test_two_sessions_at_once_do_not_mix(self) -> None:
        """Each tells of its own audio, and answers its own `finish`."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as long, self._listening(service) as short:
                await asyncio.gather(long.hear(self, 2.0), short.hear(self, 0.5))
                await asyncio.gather(long.finish(self), short.finish(self))
                await asyncio.sleep(self.slack)
                for heard in (long, short):
                    count = len(heard.of(WordsComplete))
                    assert count == 1, f"one finish of a session was answered {count} times"
                    heard.assert_times(self.slack)

        self.run(check)

    def test_a_lost_connection_is_raised_by_the_events_alone(self) -> None:
        """`events` raises a `ServiceError`; `hear`, `finish` and `close` raise nothing."""

        async def check(service: Recognizer) -> None:
            async with self._listening(service) as heard:
                await heard.hear(self, 0.3)
                await self.cut()
                await heard.hear(self, 0.3)
                await heard.session.finish()
                await self.in_time(heard.lost(), 2.0, "the events did not raise the loss")

        self.run(check)

    async def _hears(
        self, service: Recognizer, format: AudioFormat, lengths: tuple[int, ...] = ()
    ) -> None:
        async with self._listening(service, format) as heard:
            await heard.hear(self, 1.0, lengths)
            await heard.finish(self)

    @asynccontextmanager
    async def _listening(
        self, service: Recognizer, format: AudioFormat = MULAW_8K
    ) -> AsyncIterator[_Heard]:
        heard = _Heard(await service.listen(format), format)
        try:
            yield heard
        finally:
            await heard.session.close()
            await heard.stop()


class _Heard(FollowedEvents[RecognizerEvent]):
    """A session, what it was given, and the events that came."""

    def __init__(self, session: RecognizerSession, format: AudioFormat) -> None:
        self.session = session
        self.seconds = 0.0
        self._format = format
        self._events: list[RecognizerEvent] = []
        self._came = asyncio.Event()
        super().__init__(session.events(), self._take, self._came.set)

    async def hear(
        self, contract: RecognizerContract, seconds: float, lengths: tuple[int, ...] = ()
    ) -> None:
        async for frame in contract.spoken(contract.frames(self._format, seconds, lengths)):
            await self.session.hear(frame)
            self.seconds += frame.seconds

    async def finish(self, contract: RecognizerContract) -> None:
        await self.session.finish()
        await self.until_complete(contract, 1 + len(self.of(WordsComplete)))

    async def until_complete(self, contract: RecognizerContract, count: int) -> None:
        async def wait() -> None:
            while len(self.of(WordsComplete)) < count:
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the events ended before finish was answered")
                self._came.clear()
                await self._came.wait()

        await contract.in_time(wait(), _WITHIN, "finish was not answered by WordsComplete")

    def of(self, kind: type[T]) -> list[T]:
        return [each for each in self._events if isinstance(each, kind)]

    def assert_times(self, slack: float) -> None:
        until = 0.0
        for words in self.of(RecognizedWords):
            assert words.start <= words.end, f"words end before they start: {words}"
            assert words.start >= until - slack, (
                f"words start at {words.start:.2f} s, before final ones at {until:.2f} s: {words}"
            )
            assert words.end <= self.seconds + slack, (
                f"words end at {words.end:.2f} s, and {self.seconds:.2f} s were heard: {words}"
            )
            assert words.seconds >= 0, f"seconds that are charged for are not negative: {words}"
            at = words.start - slack
            for word in words.words:
                assert at <= word.start <= word.end <= words.end + slack, (
                    f"{word} is not in its place in {words}"
                )
                at = word.start
            if words.final:
                until = words.end
        through = 0.0
        for answer in self.of(WordsComplete):
            assert through <= answer.through <= self.seconds + slack, (
                f"{answer} is not within {through:.2f} to {self.seconds:.2f} s"
            )
            through = answer.through

    def assert_turns(self) -> None:
        turns = [each for each in self._events if isinstance(each, _TURNS)]
        if not self.session.takes_turns:
            assert not turns, f"takes_turns is false, and {turns[0]} came"
        speaks = may = False
        for event in turns:
            if isinstance(event, CallerSpeaks):
                assert not speaks, "CallerSpeaks came twice, without CallerFinished"
                speaks = True
            elif isinstance(event, CallerMayHaveFinished):
                assert speaks, "CallerMayHaveFinished came without CallerSpeaks"
                may = True
            elif isinstance(event, CallerGoesOn):
                assert may, "CallerGoesOn came without CallerMayHaveFinished"
                may = False
            else:
                assert speaks, "CallerFinished came without CallerSpeaks"
                speaks = may = False

    def _take(self, event: RecognizerEvent) -> None:
        self._events.append(event)
        self._came.set()
