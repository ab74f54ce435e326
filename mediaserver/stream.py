"""The asyncio face of a call: what a handler holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from audiocodecs import AudioFormat
from mediaserver.call import (
    Audio,
    Converter,
    Frame,
    Heard,
    Playout,
    Session,
    StreamCounters,
    StreamEndedError,
    Tap,
    Turn,
    Wire,
)
from mediaserver.readers import AudioReader, ControlReader, EventReader, Reader


if TYPE_CHECKING:
    from mediaserver.plivo.callbacks import AnswerRequest

T = TypeVar("T")
R = TypeVar("R", bound=Reader)


@contextmanager
def contained_exit() -> Iterator[None]:
    """Keep ``sys.exit`` in a handler from ending the server, and with it every other call."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"the handler called sys.exit({error.code!r})") from error


async def _contained(speech: Coroutine[Any, Any, None]) -> None:
    with contained_exit():
        await speech


class CallControl(Protocol):
    """What can be done to the call itself, outside the stream."""

    async def hang_up(self, stream: Stream) -> None:
        """End the call."""

    async def transfer(self, stream: Stream, url: str) -> None:
        """Have the call go on with the XML at `url`."""


class CallControlError(RuntimeError):
    """The call could not be hung up or transferred."""


class Playback(msgspec.Struct, gc=False, eq=False, repr_omit_defaults=True):
    """Audio that was given to `Stream.play` or `Stream.say`."""

    _playout: Playout
    _start: int
    _end: int
    _generation: int
    # Whether an interruption came before all of it was queued.
    _cut_short: bool = False

    async def heard(self) -> Heard:
        """Wait until the caller has heard this audio, or will not hear the rest of it.

        It always returns: at Plivo's confirmation, at an interruption, at the end of the call, or,
        when no confirmation comes, a little after the audio must have been heard.
        """
        while True:
            heard = self._outcome()
            if heard is not None:
                return heard
            waiter = asyncio.get_running_loop().create_future()
            self._playout.watch(self._end, waiter)
            await waiter

    def extend(self, other: Playback) -> None:
        """Take `other`, which was played after this, to be a part of it.

        For what is played in pieces, and is one thing to the caller: `heard`, `seconds_heard` and
        `interrupted` are of all of it from now on. If `other` was dropped, because it came after an
        interruption, this was cut short.

        Raises:
            ValueError: if `other` was played before this, or on another stream.

        """
        if other._playout is not self._playout:
            raise ValueError("a playback is extended by one of the same stream")
        if other._cut_short or other._generation != self._generation:
            self._cut_short = True
        elif other._start < self._end:
            raise ValueError("a playback is extended by one that was played after it")
        else:
            self._end = other._end

    @property
    def seconds_heard(self) -> float:
        """How much of it the caller has heard by now."""
        return self._playout.heard_seconds(self._start, self._end, self._generation)

    @property
    def begins_at(self) -> float | None:
        """When the caller hears the first sample of it, on the call's clock (`Stream.clock`).

        As far as is known: it is reckoned from when it was sent, and set right by what Plivo
        confirms. None as long as nothing of it was sent, and if an interruption came before the
        caller heard any of it.
        """
        if self._start == self._end:
            return None
        return self._playout.begins_at(self._start, self._generation)

    @property
    def interrupted(self) -> bool:
        """Whether an interruption came before all of it was heard."""
        heard = self._outcome()
        return heard is not None and heard.interrupted

    def _outcome(self) -> Heard | None:
        heard = self._playout.outcome(self._start, self._end, self._generation)
        if heard is not None and self._cut_short:
            return Heard(heard.seconds, interrupted=True, confirmed=False)
        return heard


class Stream:
    """A live audio stream of one call.

    Attributes:
        call_id: Plivo's CallUUID.
        stream_id: Plivo's id of this stream.
        account_id: the account the call belongs to, where Plivo says it.
        caller: who calls, where the answer webhook told.
        called: the number that was dialled, where the answer webhook told.
        answer: all that the answer webhook told, if it was this server's. Where it was another
            process of it, that is no more than the ids, numbers and direction.
        format: the audio format of the stream, both ways.
        tracks: the tracks that Plivo streams here.
        extra_headers: the ``extraHeaders`` that the answer XML set. Metadata, not authentication.
        query: the query parameters of the stream URL.
        path: the path of the stream URL.
        shared: what the lifespan of the server yielded.

    """

    __slots__ = (
        "__weakref__",
        "_close",
        "_control",
        "_converter",
        "_loop",
        "_readers",
        "_session",
        "_speaking",
        "account_id",
        "answer",
        "call_id",
        "called",
        "caller",
        "extra_headers",
        "format",
        "path",
        "query",
        "shared",
        "stream_id",
        "tracks",
    )

    def __init__(
        self,
        session: Session,
        *,
        close: Callable[[], object],
        control: CallControl,
        path: str = "",
        query: Mapping[str, str] | None = None,
        caller: str | None = None,
        called: str | None = None,
        answer: AnswerRequest | None = None,
        shared: Any = None,
    ) -> None:
        start = session.start
        assert start is not None, "a Stream is made when its session has started"
        self._session = session
        self._close = close
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._converter: Converter | None = None
        self._speaking: set[asyncio.Task[None]] | None = None
        self.call_id = start.call_id
        self.stream_id = start.stream_id
        self.account_id = start.account_id
        self.tracks = start.tracks
        self.extra_headers = start.extra_headers
        self.format = session.format
        self.path = path
        self.query: Mapping[str, str] = query if query is not None else {}
        self.caller = caller
        self.called = called
        self.answer = answer
        self.shared = shared
        self._readers: dict[str, Reader] = {}

    def __repr__(self) -> str:
        state = f"ended: {self.end_reason}" if self.ended else "live"
        return f"<Stream {self.stream_id} of call {self.call_id}, {self.format}, {state}>"

    # Receiving.

    def audio(self) -> AudioReader:
        """Iterate over the frames received, until the stream ends.

        A stream has one reader: either this or `events`. A handler that is slower than the call
        loses the oldest audio (or holds up Plivo, by setting), never control events.

        Raises:
            RuntimeError: if the stream already has a reader.

        """
        reader = self._claim(AudioReader(self._session), "audio")
        self._session.inbox.want_audio()
        return reader

    def events(self) -> EventReader:
        """Iterate over all that happens, frames included, in the order of arrival.

        Yields `Frame`, `Dtmf`, `Checkpoint`, `Interrupt`, `StreamError`, from agents `Turn` and,
        where they were asked for, `StreamStatus`, until the stream ends.

        Raises:
            RuntimeError: if the stream already has a reader.

        """
        reader = self._claim(EventReader(self._session), "audio", "controls")
        self._session.inbox.want_audio()
        return reader

    def controls(self) -> ControlReader:
        """Iterate over all that happens except audio, until the stream ends.

        It may be read beside `audio`: the two share nothing.

        Raises:
            RuntimeError: if `events` or another `controls` is being read.

        """
        return self._claim(ControlReader(self._session), "controls")

    def ignore_audio(self) -> None:
        """Keep no audio, nor count it as dropped, until it is read by `audio` or `events`."""
        self._session.inbox.ignore_audio()

    def _claim(self, reader: R, *lanes: str) -> R:
        """Make `reader` the one that reads these lanes, in place of any that has been left."""
        for lane in lanes:
            current = self._readers.get(lane)
            if current is not None and current.waits:
                raise RuntimeError(
                    "the stream is being read already, and has one reader: use events() for audio "
                    "and all else in one loop, or leave the other loop first"
                )
        for lane in lanes:
            current = self._readers.get(lane)
            if current is not None:
                current.superseded = True
            self._readers[lane] = reader
        return reader

    # Playing.

    async def play(
        self,
        audio: Audio,
        *,
        rate: int | None = None,
        format: AudioFormat | None = None,
        generation: int | None = None,
    ) -> Playback:
        """Play audio to the caller, after what was played before.

        Waits only while the queue is full; an interruption ends that wait, and the audio is then
        dropped.

        Args:
            audio: a `Frame`; bytes in `format`; or int16 samples at `rate`.
            rate: the rate of samples in Hz; the stream's own if left out.
            format: the format of bytes; the stream's own if left out.
            generation: the value of `generation` when the audio was asked for. If an interruption
                has come since, the audio is late and is dropped.

        Raises:
            AudioError: if the audio is of another kind, or its rate is unknown.
            StreamEndedError: if the stream has ended.

        """
        session = self._session
        playout = session.playout
        if generation is None:
            generation = playout.generation
        if session.ended:
            raise self._ended_error()
        if not playout.has_room:
            await self._room()
            if session.ended:
                raise self._ended_error()
        if type(audio) is Frame and audio.format is self.format:
            if generation != playout.generation:
                return self._dropped(generation)
            start = playout.play(audio.payload)
            return Playback(playout, start, playout.queued, generation)
        converter = self._utterance_converter()
        if not converter.is_clip(audio, rate, format):
            return await self._play(converter, audio, rate, format, generation)
        # Nothing follows a clip that should sound as if it were one with it. Other plays may come
        # while it is converted, so it has a converter of its own.
        return await self._play(Converter(self.format), audio, rate, format, generation, last=True)

    async def _play(
        self,
        converter: Converter,
        audio: Audio,
        rate: int | None,
        format: AudioFormat | None,
        generation: int,
        *,
        last: bool = False,
    ) -> Playback:
        """Convert and queue audio, letting other calls have their turn where it is long."""
        playout = self._session.playout
        pieces: list[Wire] = []
        for piece in converter.convert(audio, rate, format):
            if pieces:
                await asyncio.sleep(0)
                if generation != playout.generation:
                    break
            pieces.append(piece)
        if last:
            pieces.append(converter.flush())
        if self._session.ended:
            raise self._ended_error()
        if generation != playout.generation:
            return self._dropped(generation)
        start = playout.queued
        for piece in pieces:
            playout.play(piece)
        return Playback(playout, start, playout.queued, generation)

    async def say(
        self,
        audio: AsyncIterable[Audio],
        *,
        rate: int | None = None,
        format: AudioFormat | None = None,
    ) -> Playback:
        """Play audio that is still being made, as a speech service streams it.

        Returns when the last of it is queued, or at an interruption, which also closes the
        iterator. Running dry meanwhile counts as the producer's gap.

        Args:
            audio: an async iterator of what `play` takes.
            rate: as in `play`, for each piece.
            format: as in `play`, for each piece.

        Raises:
            AudioError: as `play`.
            StreamEndedError: if the stream has ended before the audio was queued.

        """
        session = self._session
        playout = session.playout
        if session.ended:
            raise self._ended_error()
        playback = Playback(playout, playout.queued, playout.queued, playout.generation)
        speech = self._loop.create_task(_contained(self._speak(playback, audio, rate, format)))
        if self._speaking is None:
            self._speaking = set()
        self._speaking.add(speech)
        playout.speaking += 1
        try:
            await asyncio.wait([speech])
        finally:
            playout.speaking -= 1
            self._speaking.discard(speech)
            speech.cancel()
            await asyncio.wait([speech])
            if not speech.cancelled():
                # Taken here, so that it is not reported as lost if we are being cancelled.
                speech.exception()
        if playback._generation == playout.generation or not speech.cancelled():
            speech.result()
        else:
            playback._cut_short = True
        return playback

    async def _speak(
        self,
        playback: Playback,
        audio: AsyncIterable[Audio],
        rate: int | None,
        format: AudioFormat | None,
    ) -> None:
        playout = self._session.playout
        generation = playback._generation
        converter = Converter(self.format)
        pieces = aiter(audio)
        try:
            async for piece in pieces:
                if not playout.has_room:
                    await self._room()
                await self._play(converter, piece, rate, format, generation)
                if generation != playout.generation:
                    playback._cut_short = True
                    return
                playback._end = playout.queued
            if tail := converter.flush():
                await self._play(converter, tail, None, None, generation)
                playback._end = playout.queued
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()

    def interrupt(self) -> float:
        """Stop playing at once, and drop what the caller has not heard.

        Takes effect even when all audio was sent long ago: what Plivo still holds is cleared.
        Audio that arrives late for what was interrupted is dropped: `say` ends, and so does a
        `play` that was waiting for room.

        Returns:
            Seconds of audio that the caller will not hear.

        """
        if self._speaking:
            for speech in self._speaking:
                speech.cancel()
        if self._converter is not None:
            self._converter.reset()
        return self._session.interrupt()

    def pause(self) -> None:
        """Fall silent at once, keeping what the caller has not heard."""
        self._session.playout.pause()

    def resume(self) -> None:
        """Go on from where the caller stopped hearing."""
        self._session.playout.resume()

    def checkpoint(self, name: str) -> None:
        """Ask to be told, by a `Checkpoint` event, when all audio queued so far was heard.

        Every checkpoint also costs a status callback, where one is set; `Playback.heard` shares
        them and is usually what you want.

        Raises:
            ProtocolError: if the name is empty or too long.

        """
        self._session.playout.checkpoint(name)

    @property
    def generation(self) -> int:
        """A number that changes with every interruption (see `play`)."""
        return self._session.playout.generation

    @property
    def unheard(self) -> float:
        """Seconds of audio that were played and not heard yet."""
        return self._session.playout.unheard

    @property
    def paused(self) -> bool:
        """Whether playback is paused."""
        return self._session.playout.paused

    def _dropped(self, generation: int) -> Playback:
        """Return the playback of audio that came after the interruption of its generation."""
        return Playback(self._session.playout, 0, 0, generation, _cut_short=True)

    async def _room(self) -> None:
        waiter = self._loop.create_future()
        self._session.playout.wait_for_room(waiter)
        await waiter

    def _utterance_converter(self) -> Converter:
        """Return what converts the audio of `play`, whose calls may be pieces of one utterance."""
        if self._converter is None:
            self._converter = Converter(self.format)
        elif not self._session.playout.unheard:
            self._converter.reset()
        return self._converter

    # The call.

    def send_dtmf(self, digits: str) -> None:
        """Play touch tones to the other end.

        Raises:
            ProtocolError: if a digit is none of ``0-9*#A-D``.
            StreamEndedError: if the stream has ended.

        """
        self._session.send_dtmf(digits)

    async def hang_up(self) -> None:
        """End the call.

        Raises:
            CallControlError: if Plivo refuses.

        """
        await self._control.hang_up(self)

    async def transfer(self, url: str) -> None:
        """Have the call go on with the answer XML at `url`.

        Raises:
            CallControlError: if Plivo refuses, or the server has no credentials to ask it with.

        """
        await self._control.transfer(self, url)

    def close(self) -> None:
        """End the stream, and leave the call to the XML that follows ``<Stream>``."""
        self._close()

    # What agents tell of a conversation.

    def clock(self) -> float:
        """Return the time on the call's clock: monotonic seconds."""
        return self._session.clock()

    def report(self, turn: Turn) -> None:
        """Tell of a turn of the conversation.

        It is counted, logged without its words, and an event of `events` and `controls`. After the
        end of the stream it is counted and logged, no more.
        """
        self._session.report_turn(turn)

    def count_barge_in(self, confirmed: bool) -> None:
        """Count that the caller seemed to interrupt, and whether it turned out that they did."""
        self.counters.turns.count_barge_in(confirmed)

    def count_failure(self, service: str) -> None:
        """Count a failure of an outside service, by its name."""
        self.counters.turns.failures[service] += 1

    @property
    def tap(self) -> Tap | None:
        """Who listens in, beside the handler. One at a time; set None to have nobody.

        Raises:
            RuntimeError: if somebody else listens in already.

        """
        return self._session.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        if tap is not None and self._session.tap not in (None, tap):
            raise RuntimeError("somebody listens in on this stream already, as a recorder does")
        self._session.tap = tap

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self._session.ended

    @property
    def end_reason(self) -> str:
        """Why the stream ended, or an empty string."""
        return self._session.end_reason

    @property
    def counters(self) -> StreamCounters:
        """What was counted in this stream."""
        return self._session.counters

    async def run_blocking(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run what would block the event loop, and with it every other call, in a thread."""
        return await asyncio.to_thread(function, *args, **kwargs)

    def _ended_error(self) -> StreamEndedError:
        return StreamEndedError(f"the stream has ended ({self.end_reason}): nothing was played")
