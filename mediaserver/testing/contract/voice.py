"""What every `Voice` must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from unittest import SkipTest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    ServiceError,
    Voice,
    VoiceContext,
    VoiceSession,
    WordMark,
)
from mediaserver.call import Frame
from mediaserver.testing.contract.service import ServiceContract, assert_marks, assert_whole
from mediaserver.testing.contract.text_to_speech import LONG_TEXT, ODD_TEXT, SHORT_TEXT


_LATE = 0.5
"""Seconds in which nothing more may come from a text that was cleared."""


class VoiceContract(ServiceContract[Voice]):
    """The contract of a `Voice`: see `ServiceContract` for what a test says."""

    async def cut(self) -> None:
        """Have the server drop the connections of the service that `opened` made."""
        raise SkipTest("override cut() to have a lost connection checked")

    async def use(self, service: Voice) -> None:
        """Have a text spoken."""
        async with self._connected(service) as session:
            await self._speak(session, [SHORT_TEXT])

    def test_a_call_of_mulaw_at_8_khz_is_spoken_to(self) -> None:
        """Audio of whole samples comes."""
        self.run(lambda service: self._checked(service, [LONG_TEXT], MULAW_8K))

    def test_a_call_of_l16_at_8_khz_is_spoken_to(self) -> None:
        """Audio of whole samples comes."""
        self.run(lambda service: self._checked(service, [LONG_TEXT], L16_8K))

    def test_a_call_of_l16_at_16_khz_is_spoken_to(self) -> None:
        """Audio of whole samples comes."""
        self.run(lambda service: self._checked(service, [LONG_TEXT], L16_16K))

    def test_a_text_may_come_in_pieces_of_any_length(self) -> None:
        """A piece may end within a word, and may be a space."""
        self.run(lambda service: self._checked(service, ["Yo", "ur", " ", "table is bo", "oked."]))

    def test_quotes_signs_and_letters_of_any_kind_are_spoken(self) -> None:
        """A text is words, not markup, and not ASCII."""
        self.run(lambda service: self._checked(service, [ODD_TEXT]))

    def test_marks_are_within_text_and_audio_and_in_order(self) -> None:
        """Marks count the characters of all pieces, and never go back, in the text or in time."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                for pieces in ([LONG_TEXT], ["Your table ", "is", " booked. ", "Goodbye."]):
                    spoken = await self._speak(session, pieces)
                    assert_marks(spoken.marks, "".join(pieces), spoken.seconds, self.slack)

        self.run(check)

    def test_a_flushed_text_is_spoken_before_it_is_complete(self) -> None:
        """Audio comes after `flush`, while `end` has not been called."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await context.say("One moment, please. ")
                await context.flush()
                speech = context.speech()
                await self.in_time(anext(speech), 5.0, "nothing came after flush()")
                await context.say("Here it is.")
                await context.end()
                await self._rest(speech)

        self.run(check)

    def test_a_text_of_nothing_ends(self) -> None:
        """A context that is ended without a piece has no audio, and its speech ends."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await context.end()
                frames = (await self._rest(context.speech())).frames
                assert not frames, f"{len(frames)} frames came for a text of nothing"

        self.run(check)

    def test_a_cleared_text_ends_in_time(self) -> None:
        """After `clear` no audio comes, the speech ends, and the next text is spoken."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await context.say(LONG_TEXT)
                await context.flush()
                speech = context.speech()
                await anext(speech)
                await context.clear()
                await context.clear()
                rest = await self.in_time(
                    _collected(speech), 1.0, "the speech did not end after clear()"
                )
                assert not rest.frames, f"{rest.seconds:.2f} s of audio came after clear()"
                await asyncio.sleep(_LATE)
                spoken = await self._speak(session, [SHORT_TEXT])
                assert spoken.frames, "the text after a cleared one has no audio"

        self.run(check)

    def test_what_is_said_after_clear_is_dropped(self) -> None:
        """A cleared context takes further pieces without an error, and speaks none of them."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await context.clear()
                await context.say(LONG_TEXT)
                await context.flush()
                await context.end()
                rest = await self._rest(context.speech())
                assert not rest.frames, f"{rest.seconds:.2f} s were spoken after clear()"

        self.run(check)

    def test_two_texts_of_a_session_do_not_mix(self) -> None:
        """The next text may be begun while one is spoken."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                await self._side_by_side(session, session)

        self.run(check)

    def test_two_sessions_at_once_do_not_mix(self) -> None:
        """Each call hears its own texts."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as one, self._connected(service) as other:
                await self._side_by_side(one, other)

        self.run(check)

    def test_a_session_says_when_it_expires(self) -> None:
        """`expires_after` is a time, or None."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                expires = session.expires_after
                assert expires is None or expires > 0, f"expires_after is {expires}"

        self.run(check)

    def test_speech_ends_when_the_session_is_closed(self) -> None:
        """Speech of a session that is closed ends in time, or raises a `ServiceError`."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await context.say(LONG_TEXT)
                await context.flush()
                speech = context.speech()
                await anext(speech)
                await session.close()
                with suppress(ServiceError):
                    await self.in_time(
                        _collected(speech), 1.0, "the speech did not end after close()"
                    )

        self.run(check)

    def test_a_session_may_be_closed_twice_and_used_after_it(self) -> None:
        """Whatever comes too late is dropped: no method but `speech` raises."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await session.close()
                await session.close()
                await _use_all(context)

        self.run(check)

    def test_a_lost_connection_is_raised_by_the_speech_alone(self) -> None:
        """`speech` raises a `ServiceError`; `say`, `flush`, `end` and `clear` raise nothing."""

        async def check(service: Voice) -> None:
            async with self._connected(service) as session:
                context = session.begin()
                await context.say(LONG_TEXT)
                await context.flush()
                speech = context.speech()
                await anext(speech)
                await self.cut()
                try:
                    await self.in_time(_collected(speech), 2.0, "the speech did not raise the loss")
                except ServiceError:
                    pass
                else:
                    raise AssertionError("the connection was lost, and the speech ended as usual")
                await _use_all(context)

        self.run(check)

    async def _checked(
        self, service: Voice, pieces: Sequence[str], format: AudioFormat = MULAW_8K
    ) -> None:
        async with self._connected(service, format) as session:
            spoken = await self._speak(session, pieces)
        assert spoken.frames, "the text has no audio"
        for frame in spoken.frames:
            assert_whole(frame)
        formats = {frame.format for frame in spoken.frames}
        assert len(formats) == 1, f"the audio of a text has one format, not {formats}"

    async def _side_by_side(self, one: VoiceSession, other: VoiceSession) -> None:
        long, short = await asyncio.gather(
            self._speak(one, [LONG_TEXT]), self._speak(other, [SHORT_TEXT])
        )
        assert long.frames, "the long one of two texts has no audio"
        assert short.frames, "the short one of two texts has no audio"
        assert short.seconds <= long.seconds, (
            f"{len(SHORT_TEXT)} characters became {short.seconds:.2f} s of audio, and"
            f" {len(LONG_TEXT)} became {long.seconds:.2f} s: the two were mixed"
        )
        for spoken, text in ((long, LONG_TEXT), (short, SHORT_TEXT)):
            assert_marks(spoken.marks, text, spoken.seconds, self.slack)

    async def _speak(self, session: VoiceSession, pieces: Sequence[str]) -> _Spoken:
        context = session.begin()
        for piece in pieces:
            await context.say(piece)
        await context.end()
        return await self._rest(context.speech())

    async def _rest(self, speech: AsyncIterator[Frame | WordMark]) -> _Spoken:
        return await self.in_time(_collected(speech), 10.0, "the speech did not end")

    @asynccontextmanager
    async def _connected(
        self, service: Voice, format: AudioFormat = MULAW_8K
    ) -> AsyncIterator[VoiceSession]:
        session = await service.connect(format)
        try:
            yield session
        finally:
            await session.close()


class _Spoken(NamedTuple):
    frames: list[Frame]
    marks: list[WordMark]

    @property
    def seconds(self) -> float:
        return sum(frame.seconds for frame in self.frames)


async def _collected(speech: AsyncIterator[Frame | WordMark]) -> _Spoken:
    spoken = _Spoken([], [])
    async for item in speech:
        if isinstance(item, WordMark):
            spoken.marks.append(item)
        else:
            spoken.frames.append(item)
    return spoken


async def _use_all(context: VoiceContext) -> None:
    await context.say(SHORT_TEXT)
    await context.flush()
    await context.end()
    await context.clear()
