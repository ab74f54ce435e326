"""The stream of one call, as a handler sees it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from audiocodecs import AudioFormat, Wav
from mediaserver.call import (
    Audio,
    Converter,
    Frame,
    Session,
    StreamCounters,
    StreamEndedError,
    StreamReport,
    Tap,
    Turn,
    Waiter,
    Wire,
    check_audio,
)
from mediaserver.playback import Playback
from mediaserver.readers import AudioReader, ControlReader, EventReader, Reader, TrackReader


if TYPE_CHECKING:
    from mediaserver.plivo.callbacks import AnswerRequest

T = TypeVar("T")
R = TypeVar("R", bound=Reader)

AfterCall: TypeAlias = Callable[[StreamReport], Awaitable[object]]
"""Work to do once a call is over; it gets the report of the stream."""


_SAYING: ContextVar[Waiter | None] = ContextVar("saying", default=None)
"""The utterance whose iterator runs in this context."""


class CallControl(Protocol):
    """Controls the call itself, outside its stream."""

    async def hang_up(self, stream: Stream) -> None:
        """End the call."""

    async def transfer(self, stream: Stream, url: str) -> None:
        """Continue the call with the XML at `url`."""


class CallControlError(RuntimeError):
    """The call could not be hung up or transferred."""


class Stream:
    """A live audio stream of one call.

    Attributes:
        call_id: Plivo's CallUUID.
        stream_id: Plivo's id of this stream.
        account_id: the account that the call belongs to, or an empty string.
        caller: the caller's number, if the answer webhook gave it.
        called: the number that was dialled, if the answer webhook gave it.
        answer: the answer webhook's request, if this server answered the call. If another server
            answered it, only the ids, the numbers and the direction are known.
        format: the audio format of the stream, in both directions.
        tracks: the tracks that Plivo streams here.
        extra_headers: the ``extraHeaders`` that the answer XML set. Metadata, not authentication.
        query: the query parameters of the stream URL.
        path: the path of the stream URL, without a slash at its end.
        path_params: the parameters in the path, such as ``{"tenant": "acme"}`` for the route
            ``/t/{tenant}``; those of a host application's mount as well.
        shared: what the server's lifespan yielded.
        data: whatever the handler wants to keep with the call; `StreamReport.data` has it.
        recording: the file of the recording, once a recorder has begun it.
        transcript: the file of the transcript, once its first line is written; a handler that
            writes its own sets it, so that the report and the call's record name it.
        previous: the report of the call's earlier stream, if that was lost and did not come back
            in time; None for the first stream of a call.
        on_say: an async function that says a text to the caller, for whoever operates the server;
            None if the handler cannot. Class handlers override `Handler.on_say` instead.
        on_clear: an async function that does more than `interrupt` when the operator wants silence.
            Class handlers override `Handler.on_clear` instead.

    """

    __slots__ = (
        "__weakref__",
        "_after_call",
        "_close",
        "_control",
        "_converter",
        "_inbox",
        "_loop",
        "_playout",
        "_readers",
        "_run_began",
        "_session",
        "_speaking",
        "_utterance",
        "account_id",
        "answer",
        "call_id",
        "called",
        "caller",
        "data",
        "extra_headers",
        "format",
        "on_clear",
        "on_say",
        "path",
        "path_params",
        "previous",
        "query",
        "recording",
        "shared",
        "stream_id",
        "tracks",
        "transcript",
    )

    def __init__(
        self,
        session: Session,
        *,
        close: Callable[[], object],
        control: CallControl,
        path: str = "",
        path_params: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        caller: str | None = None,
        called: str | None = None,
        answer: AnswerRequest | None = None,
        shared: Any = None,
        previous: StreamReport | None = None,
    ) -> None:
        started = session.started
        assert started is not None, "a Stream is made when its session has started"
        start = started.start
        self._session = session
        self._inbox = started.inbox
        self._playout = started.playout
        self._close = close
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._converter: Converter | None = None
        # What was queued before the first piece that this converter has taken.
        self._run_began = 0
        # The utterance that the last piece it took is a part of.
        self._utterance: Waiter | None = None
        self._speaking: set[asyncio.Task[None]] | None = None
        self.call_id = start.call_id
        self.stream_id = start.stream_id
        self.account_id = start.account_id
        self.tracks = start.tracks
        self.extra_headers = start.extra_headers
        self.format = started.format
        self.path = path.rstrip("/") or "/"
        self.path_params: Mapping[str, Any] = path_params if path_params is not None else {}
        self.query: Mapping[str, str] = query if query is not None else {}
        self.caller = caller
        self.called = called
        self.answer = answer
        self.shared = shared
        self.previous = previous
        self.data: dict[str, Any] = {}
        self.recording: Path | None = None
        self.transcript: Path | None = None
        self.on_say: Callable[[str], Awaitable[object]] | None = None
        self.on_clear: Callable[[], Awaitable[object]] | None = None
        self._after_call: list[AfterCall] | None = []
        self._readers: dict[str, Reader] = {}

    def __repr__(self) -> str:
        state = f"ended: {self.end_reason}" if self.ended else "live"
        return f"<Stream {self.stream_id} of call {self.call_id}, {self.format}, {state}>"

    # Receiving.

    def audio(self, track: Literal["inbound", "outbound"] | None = None) -> AudioReader:
        """Iterate over the frames received, until the stream ends.

        A stream may have two tracks: ``inbound``, what the caller says, and ``outbound``, what they
        hear. Their frames alternate. Most code means ``inbound`` and should say so.

        Only one reader reads audio at a time: this or `events`. If the handler is slower than the
        call, the oldest audio is dropped, never control events. The setting ``inbox_overflow``
        makes the server pause reading instead.

        Args:
            track: the track to read; None for all that the stream has.

        Raises:
            ValueError: if there is no such track on any stream.
            RuntimeError: if a task is waiting for the audio in another reader.

        """
        if track not in (None, "inbound", "outbound"):
            raise ValueError(f"a track is 'inbound' or 'outbound', not {track!r}")
        if track is None or self.tracks == (track,):
            reader = self._claim(AudioReader(self._inbox), "audio")
        else:
            reader = self._claim(TrackReader(self._inbox, track), "audio")
        self._inbox.want_audio()
        return reader

    def events(self) -> EventReader:
        """Iterate over all events, frames included, in the order of arrival.

        Yields `Frame`, `Dtmf`, `Checkpoint`, `Interrupt` and `StreamError` until the stream ends;
        `Reconnected` if it was lost and came back;
        `Turn` if the handler is an agent; `StreamStatus` if the setting ``status_callbacks`` is on.

        Raises:
            RuntimeError: if a task is waiting in another reader.

        """
        reader = self._claim(EventReader(self._inbox), "audio", "controls")
        self._inbox.want_audio()
        return reader

    def controls(self) -> ControlReader:
        """Iterate over all events except audio, until the stream ends.

        One task may read this while another reads `audio`.

        Raises:
            RuntimeError: if a task is waiting in `events` or in another `controls`.

        """
        return self._claim(ControlReader(self._inbox), "controls")

    def ignore_audio(self) -> None:
        """Discard received audio, without counting it as dropped, until it is read again.

        `audio` and `events` read it.
        """
        self._inbox.ignore_audio()

    def _claim(self, reader: R, *lanes: str) -> R:
        """Let `reader` read these lanes, in place of readers that no task is waiting in."""
        for lane in lanes:
            current = self._readers.get(lane)
            if current is not None and current.waits:
                raise RuntimeError(
                    "the stream is being read already and can have only one reader: use events() "
                    "to read audio and other events in one loop, or leave the other loop first"
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
        utterance: Waiter | None = None,
    ) -> Playback:
        """Play audio to the caller, after all that was played or said before.

        Waits while the queue is full, and while an earlier `say` or `play` is being queued. An
        interruption ends that wait and drops the audio.

        Args:
            audio: a `Frame`; a `Wav`; bytes in `format`; or int16 samples at `rate`. Bytes that end
                within a sample are continued by those of the next `play`, unless the caller has
                heard all that came before it and it is not a part of the same `utterance`.
            rate: the sample rate in Hz; by default the stream's.
            format: the format of bytes; by default the stream's.
            generation: the value of `Stream.generation` when the audio was requested. If an
                interruption has come since, the audio is late and is dropped.
            utterance: what `begin_utterance` returned, of which this audio is a part.

        Raises:
            AudioError: if the audio is of another kind, or its rate is not supported.
            StreamEndedError: if the stream has ended.

        """
        session = self._session
        playout = self._playout
        if generation is None:
            generation = playout.generation
        if session.ended:
            raise self._ended_error()
        if (
            type(audio) is Frame
            and audio.format is self.format
            and playout.has_room
            and playout.utterances.current is utterance
            and not len(audio.payload) % self.format.sample_bytes
            and (self._converter is None or not self._converter.waits)
        ):
            if generation != playout.generation:
                return self._dropped(generation)
            start = playout.play(audio.payload)
            return Playback(playout, start, playout.queued, generation)
        check_audio(audio, rate, format)
        turn = utterance
        if turn is None or playout.utterances.current is not turn:
            turn = await self.begin_utterance()
        try:
            if not playout.has_room:
                await self._room()
            if session.ended:
                raise self._ended_error()
            if generation != playout.generation:
                return self._dropped(generation)
            converter = self._utterance_converter(utterance)
            if not converter.is_clip(audio, rate, format):
                rest = converter.flush_late
                return await self._play(converter, audio, rate, format, generation, rest)
            # A clip is complete: no later audio continues it.
            converter = Converter(self.format)
            return await self._play(converter, audio, rate, format, generation, converter.flush)
        finally:
            if turn is not utterance:
                self.end_utterance(turn)

    async def _play(
        self,
        converter: Converter,
        audio: Audio,
        rate: int | None,
        format: AudioFormat | None,
        generation: int,
        rest: Callable[[], Wire] | None = None,
    ) -> Playback:
        """Convert and queue audio, then the `rest`. If it is long, let other calls run."""
        playout = self._playout
        pieces: list[Wire] = []
        for piece in converter.convert(audio, rate, format):
            if pieces:
                await asyncio.sleep(0)
                if generation != playout.generation:
                    break
            pieces.append(piece)
        if rest is not None:
            pieces.append(rest())
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
        """Play audio while it is still being made, for example by a speech service.

        Waits until what was said and played before is queued, and then queues all of this: what is
        said or played meanwhile is heard after it. Returns when the last piece is queued, or at an
        interruption, which also closes the iterator. If the queue runs empty in between, that
        counts as the producer's gap.

        Args:
            audio: an async iterator of pieces that `play` takes, cut anywhere.
            rate: as in `play`, for each piece.
            format: as in `play`, for each piece.

        Raises:
            AudioError: as in `play`.
            StreamEndedError: if the stream ended before all the audio was queued.
            TypeError: if `audio` is not an async iterator.

        """
        _require_pieces(audio)
        pieces = aiter(audio)
        playout = self._playout
        generation = playout.generation
        try:
            turn = await self.begin_utterance()
            try:
                if self._session.ended:
                    raise self._ended_error()
                if generation != playout.generation:
                    return self._dropped(generation)
                if self._converter is not None:
                    self._converter.reset()
                return await self._say(pieces, rate, format, generation)
            finally:
                self.end_utterance(turn)
        finally:
            # _speak closes what it has begun, in the task that it runs in.
            await _close(pieces)

    async def _say(
        self,
        pieces: AsyncIterator[Audio],
        rate: int | None,
        format: AudioFormat | None,
        generation: int,
    ) -> Playback:
        playout = self._playout
        playback = Playback(playout, playout.queued, playout.queued, generation)
        speech = self._loop.create_task(self._speak(playback, pieces, rate, format, generation))
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
                # Retrieve it, so that asyncio does not report it as lost if we are cancelled.
                speech.exception()
        if generation == playout.generation or not speech.cancelled():
            speech.result()
        else:
            playback.extend(self._dropped(generation))
        return playback

    async def _speak(
        self,
        playback: Playback,
        pieces: AsyncIterator[Audio],
        rate: int | None,
        format: AudioFormat | None,
        generation: int,
    ) -> None:
        playout = self._playout
        _SAYING.set(playout.utterances.current)
        converter = Converter(self.format)
        try:
            async for piece in pieces:
                if not playout.has_room:
                    await self._room()
                playback.extend(await self._play(converter, piece, rate, format, generation))
                if generation != playout.generation:
                    return
            if tail := converter.flush():
                playback.extend(await self._play(converter, tail, None, None, generation))
        finally:
            await _close(pieces)

    def interrupt(self) -> float:
        """Stop playing at once, and drop the audio that the caller has not heard.

        This also clears audio that was sent but that Plivo has not played yet. A running `say`
        ends, and so does every `say` and `play` that waits; their late audio is dropped.

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
        """Fall silent at once, and keep the audio that the caller has not heard."""
        self._playout.pause()

    def resume(self) -> None:
        """Continue where the caller stopped hearing."""
        self._playout.resume()

    def checkpoint(self, name: str) -> None:
        """Request a `Checkpoint` event for the time when all audio queued so far has been heard.

        Usually `Playback.heard` is the better choice: calls of it share checkpoints, and each
        checkpoint costs a status callback if those are on.

        Raises:
            ProtocolError: if the name is empty or too long.

        """
        self._playout.checkpoint(name)

    @property
    def generation(self) -> int:
        """A number that changes at every interruption (see `play`)."""
        return self._playout.generation

    @property
    def unheard(self) -> float:
        """Seconds of audio that were given to `play` or `say` and not heard yet."""
        return self._playout.unheard

    def heard_in(self, before_end: float = 0.0) -> float:
        """Return in how many seconds the caller hears a place in the audio, by estimate.

        It is later by the network's time than `unheard` says, as what the caller answers is.

        Args:
            before_end: where it is: so many seconds before the end of what was given to `play`
                or `say`.

        """
        return self._playout.heard_in(before_end)

    @property
    def paused(self) -> bool:
        """Whether playback is paused."""
        return self._playout.paused

    def _dropped(self, generation: int) -> Playback:
        """Return the playback of audio that an interruption dropped."""
        return Playback(self._playout, 0, 0, generation, _cut_short=True)

    async def _room(self) -> None:
        waiter = self._loop.create_future()
        self._playout.wait_for_room(waiter)
        await waiter

    def _utterance_converter(self, utterance: Waiter | None) -> Converter:
        """Return the converter for `play`, whose calls may be pieces of one utterance."""
        playout = self._playout
        if self._converter is None:
            self._converter = Converter(self.format)
            self._run_began = playout.queued
        elif utterance is not self._utterance or (
            utterance is None and self._run_began != playout.queued and not playout.unheard
        ):
            self._converter.reset()
            self._run_began = playout.queued
        self._utterance = utterance
        return self._converter

    # The call.

    def send_dtmf(self, digits: str) -> None:
        """Play touch tones to the other end.

        Raises:
            ProtocolError: if a character is not one of ``0-9*#A-D``.
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
        """Continue the call with the answer XML at `url`.

        Raises:
            CallControlError: if Plivo refuses, or the server has no credentials for Plivo's API.

        """
        await self._control.transfer(self, url)

    def close(self) -> None:
        """End the stream. The call continues with the XML that follows ``<Stream>``."""
        self._close()

    def after_call(self, work: AfterCall) -> None:
        """Have an async function called with the `StreamReport` once the call is over.

        It runs when the handler has returned, whatever ended the call, and may take as long as the
        setting ``after_call_seconds`` allows; a server that is asked to stop waits for it. Class
        handlers override `Handler.on_ended` instead.

        Raises:
            RuntimeError: the handler has returned already.

        """
        if self._after_call is None:
            raise RuntimeError("the call is over, and the work after it has begun")
        self._after_call.append(work)

    def detach(self) -> Sequence[AfterCall]:
        """Refer no more to the server's call, which is over; for the server.

        Returns:
            The work that was asked for after it; no more is accepted.

        """
        self._close = _over
        works, self._after_call = self._after_call or [], None
        return works

    # For agents and recorders.

    @property
    def busy(self) -> bool:
        """Whether `play` would have to wait: for room, or for the end of an utterance."""
        return not self._playout.has_room or self._playout.utterances.current is not None

    async def begin_utterance(self) -> Waiter:
        """Wait until all that was said and played before is queued, and begin an utterance.

        It consists of the audio that is given to `play` with it. What others say and play is heard
        after its end (`end_utterance`). What the iterator of a `say` plays is a part of that `say`.

        Raises:
            StreamEndedError: if the stream has ended.

        """
        if self._session.ended:
            raise self._ended_error()
        utterances = self._playout.utterances
        utterance = self._loop.create_future()
        if utterances.current is not None and utterances.current is _SAYING.get():
            return utterance
        if not utterances.begin(utterance):
            try:
                await utterance
            except asyncio.CancelledError:
                utterances.end(utterance)
                raise
        return utterance

    def end_utterance(self, utterance: Waiter) -> None:
        """End an utterance. Does nothing if it has ended, or was interrupted."""
        self._playout.utterances.end(utterance)

    def clock(self) -> float:
        """Return the time on the call's clock: monotonic seconds."""
        return self._session.clock()

    def report(self, turn: Turn) -> None:
        """Report a turn of the conversation.

        It is counted, logged without its words, and delivered as an event of `events` and
        `controls`. After the end of the stream it is only counted and logged, and once the handler
        has returned, only counted.
        """
        self._session.report_turn(turn)

    def decided(self, what: str, /, **details: object) -> None:
        """Tell whoever follows the call what the handler decided; ``words`` are what was said.

        It costs nothing while nobody follows.
        """
        self._session.decided(what, **details)

    @property
    def followed(self) -> bool:
        """Whether somebody follows the call, so that `decided` tells somebody."""
        return bool(self._session.followers)

    def count_barge_in(self, confirmed: bool) -> None:
        """Count that the caller seemed to interrupt; `confirmed` says whether they really did."""
        self.counters.turns.count_barge_in(confirmed)

    def count_failure(self, service: str) -> None:
        """Count a failure of the outside service of this name."""
        self.counters.turns.failures[service] += 1

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that were reported, of many the last thousand."""
        return tuple(self._session.turns)

    @property
    def tap(self) -> Tap | None:
        """Receives a copy of the audio in both directions. There can be one tap; None removes it.

        Raises:
            RuntimeError: if the stream already has another tap.

        """
        return self._playout.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        if tap is not None and self._playout.tap not in (None, tap):
            raise RuntimeError("the stream already has a tap, for example a recorder's")
        self._playout.tap = tap

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
        """The stream's counters."""
        return self._session.counters

    async def run_blocking(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run a function in a thread, because it would block the event loop and all other calls."""
        return await asyncio.to_thread(function, *args, **kwargs)

    def _ended_error(self) -> StreamEndedError:
        return StreamEndedError(f"the stream has ended ({self.end_reason}); nothing was played")


def _over() -> None:
    """Close nothing."""


def _require_pieces(audio: object) -> None:
    """Raise TypeError unless `audio` is what `Stream.say` takes."""
    if isinstance(audio, AsyncIterable):
        return
    if isinstance(audio, str | os.PathLike):
        hint = "a text_to_speech service makes audio of text, and read_wav reads a file for play"
    elif isinstance(audio, Frame | Wav | bytes | bytearray | memoryview | np.ndarray):
        hint = "play takes audio that is complete"
    elif callable(audio):
        hint = "call the function, if it is an async generator"
    else:
        hint = "an async generator yields pieces one by one; or give each to play"
    raise TypeError(
        "say takes an async iterator of pieces of audio, as a speech service sends them, "
        f"not {type(audio).__name__}: {hint}"
    )


async def _close(pieces: object) -> None:
    close = getattr(pieces, "aclose", None)
    # A generator that still runs was cancelled, and ends by itself.
    if close is not None and not getattr(pieces, "ag_running", False):
        await close()
