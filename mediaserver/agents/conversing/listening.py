"""From frames to utterances: turn-taking on a live stream, and what it does to playback."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Literal, TypeAlias

from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.turns import (
    CallerSilent,
    SpeechConfirmed,
    SpeechDropped,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    TurnTaker,
)
from mediaserver.call import Frame
from mediaserver.stream import Stream


BargeIn: TypeAlias = Literal["decide", "at_once", "notify"]
"""What the caller's voice does while the agent speaks or is about to.

``decide``: playback pauses; speech interrupts it, and after a noise it resumes where it stopped.
``at_once``: any voice interrupts.
``notify``: only the hook `Agent.on_barge_in` is called.
"""

_MARGIN = 0.2
"""Seconds of audio kept beyond the preroll, since an event may come some frames late."""

_KEPT = 10.0
"""Seconds kept of an undecided utterance, in case the caller resumes it."""


_TOLD = 0.1
"""By how much the probability of speech changes before those that follow the call are told."""

LAST_WORD = 0.5
"""Seconds: a caller who speaks when the agent has less than this left to say is not interrupting.
It is about a word, and people begin to answer before they have heard the last one."""


class Utterance:
    """What the caller says in one turn, as an iterator of frames, while they say it.

    Iterate over it once. It begins shortly before the first word, and ends when the caller has
    finished or the sound has turned out to be noise.

    Attributes:
        started_at: when its first word began, on the call's clock.
        ended_at: when its last word ended, on the call's clock; None while the caller speaks.
        finished_at: when the caller was known to have finished, on the call's clock, or None.
        confirmed: whether it is known to be speech.
        dropped: whether it was taken for noise or a backchannel. A transcript may still reverse
            that (see `Listener.understood`).
        answers: whether it was dropped when the agent had nothing left to say, or less than a word:
            if it has words, they are an answer, even those of a backchannel.
        resumed: whether the caller spoke on after it was dropped. Another utterance has all of it
            then, and this one stays dropped.
        over_agent: whether the agent spoke meanwhile.
        stopped_agent: whether it interrupted the agent.
        quiet: the seconds of silence with which it ends, once it has ended.
        seconds_transcribed: the seconds that its transcription is charged for.
        transcription: the request that transcribes it, if there is one.
        on_end: called when no more frames will come.

    """

    __slots__ = (
        "_frames",
        "_loop",
        "_waiter",
        "_watching",
        "answers",
        "confirmed",
        "dropped",
        "ended",
        "ended_at",
        "finished_at",
        "on_end",
        "over_agent",
        "quiet",
        "resumed",
        "seconds_transcribed",
        "started_at",
        "stopped_agent",
        "transcription",
    )

    def __init__(
        self, frames: Iterable[Frame], *, started_at: float, over_agent: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames = deque(frames)
        self._waiter: asyncio.Future[None] | None = None
        self._watching: list[asyncio.Future[None]] = []
        self.started_at = started_at
        self.ended_at: float | None = None
        self.finished_at: float | None = None
        self.ended = False
        self.confirmed = False
        self.dropped = False
        self.answers = False
        self.resumed = False
        self.over_agent = over_agent
        self.stopped_agent = False
        self.quiet = 0.0
        self.seconds_transcribed = 0.0
        self.transcription: RunningStep | None = None
        self.on_end: Callable[[], object] | None = None

    @property
    def frames(self) -> list[Frame]:
        """The frames that were not iterated over yet."""
        return list(self._frames)

    def put(self, frame: Frame) -> None:
        """Add a frame."""
        self._frames.append(frame)
        self._wake()

    def end(self, *, dropped: bool = False) -> None:
        """Note that no more frames will come."""
        self.ended = True
        self.dropped = dropped
        self._wake()
        for watching in self._watching:
            if not watching.done():
                watching.set_result(None)
        if self.on_end is not None:
            self.on_end()

    async def over(self, limit: float | None) -> None:
        """Wait until no more frames will come, for `limit` seconds at most."""
        if not self.ended:
            over = self._loop.create_future()
            self._watching.append(over)
            await asyncio.wait([over], timeout=limit)

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self

    async def __anext__(self) -> Frame:
        while not self._frames:
            if self.ended:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._frames.popleft()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Listener:
    """Passes the caller's frames to a `TurnTaker`, stops playback, and hands out utterances.

    All callbacks are called from within `hear` or `understood`, and must not block.

    Args:
        stream: the stream whose playback pauses or is interrupted.
        taker: decides from the frames when the caller speaks.
        barge_in: what the caller's voice does to playback.
        preroll: seconds of audio before the onset that belong to an utterance.
        started: called with each utterance when it begins.
        finished: called with an utterance when the caller has finished it.
        dropped: called with an utterance that was taken for noise or a backchannel.
        barged_in: called for an utterance over the agent, with whether it was speech.
        interrupt: stops the agent; ``stream.interrupt`` if left out.
        answering: returns whether an answer is being made, even if none of it plays yet.
        working: returns whether the agent is busy for the caller, using a tool. "Okay" does not
            take the turn then.
        silent: called when both sides have been silent for long.
        left: returns the seconds of speech that the agent has left to say, infinite if that is not
            known; what the caller has not heard of the stream's audio if left out.

    """

    __slots__ = (
        "_answering",
        "_barged_in",
        "_began",
        "_dropped",
        "_finished",
        "_interrupt",
        "_kept_limit",
        "_last",
        "_left",
        "_parts",
        "_paused",
        "_preroll",
        "_recent",
        "_recent_bytes",
        "_recent_limit",
        "_silent",
        "_started",
        "_stream",
        "_told",
        "_utterance",
        "_working",
        "barge_in",
        "taker",
    )

    def __init__(
        self,
        stream: Stream,
        taker: TurnTaker,
        *,
        barge_in: BargeIn = "decide",
        preroll: float = 0.4,
        started: Callable[[Utterance], object] = lambda utterance: None,
        finished: Callable[[Utterance], object] = lambda utterance: None,
        dropped: Callable[[Utterance], object] = lambda utterance: None,
        barged_in: Callable[[bool], object] = lambda confirmed: None,
        interrupt: Callable[[], object] | None = None,
        answering: Callable[[], bool] = lambda: False,
        working: Callable[[], bool] = lambda: False,
        silent: Callable[[], object] = lambda: None,
        left: Callable[[], float] | None = None,
    ) -> None:
        self._stream = stream
        self.taker = taker
        self.barge_in: BargeIn = barge_in
        self._started = started
        self._finished = finished
        self._dropped = dropped
        self._barged_in = barged_in
        self._interrupt = interrupt if interrupt is not None else stream.interrupt
        self._answering = answering
        self._working = working
        self._silent = silent
        self._left = left if left is not None else lambda: stream.unheard
        # The current utterance, and the latest one.
        self._utterance: Utterance | None = None
        self._last: Utterance | None = None
        # Earlier utterances that the latest one resumes.
        self._parts: set[Utterance] = set()
        # The taker's time at which the latest one begins, as long as it may be resumed.
        self._began: float | None = None
        # The probability of speech that those that follow the call were told last.
        self._told = 0.0
        # Whether playback was paused for the current utterance.
        self._paused = False
        # The latest frames, with which the next utterance begins.
        self._recent: deque[Frame] = deque()
        self._recent_bytes = 0
        self._preroll = preroll
        self._recent_limit = round((preroll + _MARGIN) * stream.format.bytes_per_second)
        self._kept_limit = round(_KEPT * stream.format.bytes_per_second)

    @property
    def utterance(self) -> Utterance | None:
        """The current utterance, or None."""
        return self._utterance

    def hear(self, frame: Frame) -> None:
        """Take the caller's next frame."""
        if self._utterance is not None:
            self._utterance.put(frame)
        self._recent.append(frame)
        self._recent_bytes += len(frame.payload)
        limit = self._recent_limit if self._began is None else self._kept_limit
        while self._recent_bytes > limit:
            self._recent_bytes -= len(self._recent.popleft().payload)
        speaking = self._stream.unheard > 0 or self._working()
        event = self.taker.hear(frame, agent_speaking=speaking)
        if event is not None:
            self._take(event)
        probability = self.taker.probability
        if abs(probability - self._told) >= _TOLD and self._stream.followed:
            self._told = probability
            self._stream.decided("vad", probability=round(probability, 2))

    def understood(self, utterance: Utterance, text: str, *, final: bool) -> None:
        """Take a transcript: it may show that an utterance is speech, or that it is noise.

        A transcript may come late. A short word that was dropped because time was up interrupts as
        soon as it is understood, even if the caller has begun to say something else.

        Args:
            utterance: what was transcribed.
            text: all words so far.
            final: whether the words will not change any more.

        """
        if final and utterance is self._utterance and self._left() < LAST_WORD:
            self.taker.agent_has_finished()
        if utterance.answers and self.taker.means(text, interrupting=True, final=final):
            utterance.answers = False  # its words interrupt at any time
        if utterance in self._parts:
            # Only a transcript of the whole can show that it means nothing.
            event = self.taker.understood(text, final=False)
        elif utterance is self._last:
            event = self.taker.understood(text, final=final)
        else:
            interrupts = utterance.over_agent or self._working()
            over = interrupts and not utterance.answers
            means = self.taker.means(text, interrupting=over, final=final)
            if means and utterance.dropped and not utterance.resumed:
                self._confirm(utterance)
            return
        if event is not None:
            self._take(event)
        if final and utterance is self._last and utterance.ended:
            self._began = None

    def finish(self) -> None:
        """End the caller's turn, if they are in one: a recogniser knows that they have finished."""
        event = self.taker.finish()
        if event is not None:
            self._take(event)

    def notice(self, ago: float) -> None:
        """Begin an utterance that only a recogniser has noticed, `ago` seconds after it began."""
        speaking = self._stream.unheard > 0 or self._working()
        event = self.taker.notice(ago, agent_speaking=speaking)
        if event is not None:
            self._take(event)

    def accept(self, utterance: Utterance) -> None:
        """Take an utterance that was dropped for speech after all, whatever its words are."""
        if utterance.dropped and not utterance.resumed:
            self.taker.reset_silence()
            self._confirm(utterance)

    def end(self) -> None:
        """End the current utterance: the call is over."""
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            utterance.end(dropped=not utterance.confirmed)

    def _take(self, event: TurnEvent) -> None:
        if isinstance(event, SpeechStarted):
            self._start(event)
        elif isinstance(event, SpeechConfirmed):
            if event.resumes:
                self._resume()
            self._began = None
            if self._last is not None:
                self._confirm(self._last)
        elif isinstance(event, SpeechDropped):
            self._drop(event)
        elif isinstance(event, TurnEnded):
            self._finish(event)
        else:
            assert isinstance(event, CallerSilent)
            self._silent()

    def _time(self, at: float) -> float:
        """Return when, on the call's clock, the caller was heard at `at`."""
        return self._stream.clock() - (self.taker.elapsed - at)

    def _start(self, event: SpeechStarted) -> None:
        speaking = self._stream.unheard > 0
        former = self._last
        if event.resumes and former is not None and self._began is not None:
            utterance = self._begin_again(former, self._began, over_agent=speaking)
        else:
            self._parts.clear()
            self._began = event.at - self._preroll
            utterance = self._begin(self._began, self._time(event.at), over_agent=speaking)
        self._paused = False
        if speaking or self._answering():
            if self.barge_in == "decide":
                self._paused = True
                self._stream.pause()
                self._stream.decided("pauses")
            elif self.barge_in == "at_once":
                self._stop(utterance)
        self._started(utterance)

    def _resume(self) -> None:
        """Resume a dropped utterance: it was understood, and the caller has spoken on."""
        former = self._last
        if former is None or self._began is None:
            return
        utterance = self._begin_again(former, self._began, over_agent=former.over_agent)
        utterance.stopped_agent = former.stopped_agent
        self._started(utterance)

    def _begin_again(self, former: Utterance, at: float, *, over_agent: bool) -> Utterance:
        former.resumed = True
        self._parts.add(former)
        return self._begin(at, former.started_at, over_agent=over_agent)

    def _begin(self, at: float, started_at: float, *, over_agent: bool) -> Utterance:
        utterance = Utterance(self._since(at), started_at=started_at, over_agent=over_agent)
        self._utterance = self._last = utterance
        return utterance

    def _since(self, at: float) -> list[Frame]:
        """Return the latest frames, from the one that contains `at`."""
        frames: list[Frame] = []
        begins_at = self.taker.elapsed
        for frame in reversed(self._recent):
            if begins_at <= at:
                break
            frames.append(frame)
            begins_at -= frame.seconds
        frames.reverse()
        return frames

    def _confirm(self, utterance: Utterance) -> None:
        if utterance.confirmed:
            return
        utterance.confirmed = True
        utterance.dropped = False
        if utterance.answers:
            return
        if self._stream.unheard > 0:
            utterance.over_agent = True
        over = self._paused or utterance.over_agent or self._answering()
        if over and not utterance.stopped_agent and self.barge_in != "notify":
            self._stop(utterance)
        if utterance.over_agent:
            self._barged_in(True)

    def _stop(self, utterance: Utterance) -> None:
        utterance.stopped_agent = True
        self._paused = False
        self._interrupt()

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            self._stream.resume()
            self._stream.decided("goes on")

    def _drop(self, event: SpeechDropped) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return
        if event.reason != "noise" and self._left() < LAST_WORD:
            utterance.answers = True
            self.taker.agent_has_finished()
        utterance.finished_at = self._stream.clock()
        utterance.end(dropped=True)
        self._go_on()
        if utterance.over_agent:
            self._barged_in(False)
        self._dropped(utterance)

    def _finish(self, event: TurnEnded) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return
        utterance.ended_at = self._time(event.speech_ended_at)
        utterance.quiet = self.taker.elapsed - event.speech_ended_at
        utterance.finished_at = self._stream.clock()
        # It may pause still: nothing has confirmed what was said, although a taker should by now.
        self._go_on()
        # The next utterance must not repeat the end of this one.
        self._recent = deque(self._since(event.speech_ended_at))
        self._recent_bytes = sum(len(frame.payload) for frame in self._recent)
        utterance.end()
        self._finished(utterance)
