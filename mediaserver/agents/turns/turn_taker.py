"""Whose turn it is: frames in, turn events out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from audiocodecs import AudioFormat
from mediaserver.agents.turns.detector import VoiceDetector
from mediaserver.agents.turns.settings import TurnSettings
from mediaserver.agents.turns.words import PhraseSet, words_of
from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller seems to speak: time to fall silent for a moment, not yet to give up the turn.

    Attributes:
        at: When it was noticed.
        resumes: Whether it continues the utterance that was dropped before: the caller never
            paused.

    """

    at: float
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class SpeechConfirmed:
    """The caller really speaks. Reported once for each utterance that was not dropped.

    Attributes:
        at: When that became clear.
        resumes: Whether it was dropped while the caller kept speaking, and is now resumed.

    """

    at: float
    resumes: bool = False


DropReason: TypeAlias = Literal["noise", "too_short", "backchannel"]
"""Why speech was not taken for an utterance: it was a noise; it was not decided in time; or its
words only show that the caller listens."""


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """The speech that started was not an utterance: the agent may continue where it was."""

    at: float
    reason: DropReason


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The caller has finished.

    Attributes:
        at: When that became clear.
        speech_ended_at: The end of the last speech.
        speech_seconds: From the first speech to the last, pauses within included.

    """

    at: float
    speech_ended_at: float
    speech_seconds: float


@dataclass(frozen=True, slots=True)
class CallerSilent:
    """Neither side has spoken for `TurnSettings.silence`.

    Attributes:
        at: When it had lasted long enough.
        count: Number of such stretches since the caller last spoke: 1, 2, …

    """

    at: float
    count: int


TurnEvent: TypeAlias = SpeechStarted | SpeechConfirmed | SpeechDropped | TurnEnded | CallerSilent


STEP: Final = 0.02
"""Seconds of a step: audio is examined in steps, whatever the length of the frames."""

_STEPS_A_SECOND: Final = 50

UNFINISHED: Final = 6.0
"""Seconds of quiet that end a turn though the recogniser has not said that it is over."""

# Seconds without speech after which a noise is over.
_QUIET: Final = 0.2


class TurnTaker:
    """Follows one call: takes the caller's frames and says what they mean for the turn.

    It knows no clock. Times are seconds of the caller's audio since the first frame, and the same
    audio gives the same events however it is cut into frames.

    While the agent is silent, speech of `TurnSettings.shortest` makes a turn. While it speaks,
    somebody who speaks may be interrupting, coughing or agreeing: `SpeechStarted` comes at once,
    and within `decide_within` either `SpeechConfirmed`, when there was speech of `confirm` or a
    transcript with words that mean something, or `SpeechDropped`.

    Attributes:
        waits: tells whether a recogniser will say that the caller has finished, by `finish`. Then
            quiet ends a turn only after `UNFINISHED`.
        probability: that of speech in the latest step.

    """

    def __init__(self, settings: TurnSettings, detector: VoiceDetector) -> None:
        self.waits: Callable[[], bool] = lambda: False
        self.probability = 0.0
        self._settings = settings
        self._detector = detector
        self._backchannels = PhraseSet(settings.backchannels)
        self._steps = _Steps()
        self._events: deque[TurnEvent] = deque()
        self._count = 0
        self._rising = 0
        self._rising_sure = 0
        self._dip_awaited = False
        self._utterance: _Utterance | None = None
        self._dropped: _Utterance | None = None
        self._quiet_since = 0
        self._silences = 0

    @property
    def elapsed(self) -> float:
        """Seconds of audio that have been examined."""
        return _seconds(self._count)

    @property
    def speaking(self) -> bool:
        """Whether the caller is in an utterance, decided or not."""
        return self._utterance is not None

    def hear(self, frame: Frame, *, agent_speaking: bool) -> TurnEvent | None:
        """Take the caller's next audio.

        Args:
            frame: Of any length; all of one format.
            agent_speaking: Whether the caller hears the agent, or would if it had not been paused.

        Returns:
            The next event. When there are several, the others come with the next frames.

        Raises:
            ValueError: The frame's format is not that of the frames before.

        """
        for step in self._steps.cut(frame):
            self._hear(self._detector.probability(step), agent_speaking)
        return self._events.popleft() if self._events else None

    def understood(self, text: str, *, final: bool) -> TurnEvent | None:
        """Take the transcript of the current utterance, or of the last one.

        Words that mean something confirm it, even after it was dropped. A final transcript of
        nothing but backchannels, or of no words, drops it if it may be an interruption.

        Args:
            text: The whole transcript of the utterance so far. Text in brackets counts as the name
                of a sound.
            final: Whether the words will not change any more.

        Returns:
            The next event, as from `hear`.

        """
        event = self._understand(text, final)
        if event is not None:
            self._events.append(event)
        return self._events.popleft() if self._events else None

    def means(self, text: str, *, interrupting: bool, final: bool) -> bool:
        """Whether words of a transcript mean something. While interrupting, backchannels do not."""
        words = words_of(text)
        backchannel = self._backchannels.only if final else self._backchannels.may_become
        return bool(words) and not (interrupting and backchannel(words))

    def finish(self) -> TurnEvent | None:
        """End the utterance, if it is confirmed: a recogniser knows that the caller has finished.

        Returns:
            The next event, as from `hear`.

        """
        if self._utterance is not None and self._utterance.confirmed:
            self._end(self._utterance)
        return self._events.popleft() if self._events else None

    def notice(self, ago: float, *, agent_speaking: bool) -> TurnEvent | None:
        """Begin an utterance that was not noticed, and of which a recogniser has words.

        Args:
            ago: Seconds since it began.
            agent_speaking: Whether the caller hears the agent.

        Returns:
            The next event, as from `hear`.

        """
        if self._utterance is None:
            self._utterance = _Utterance(self._count, 0, 0, interrupting=agent_speaking)
            self._dropped = None
            self._events.append(SpeechStarted(max(0.0, self.elapsed - ago)))
        return self._events.popleft() if self._events else None

    def agent_has_finished(self) -> None:
        """Take what the caller says, or said last, for no interruption: the agent was at its end.

        Words of any kind make it a turn then, as they do while the agent is silent.
        """
        utterance = self._utterance or self._dropped
        if utterance is not None:
            utterance.interrupting = False

    def reset_silence(self) -> None:
        """Restart the count of silence, because something else showed that the caller is there."""
        self._quiet_since = self._count
        self._silences = 0

    def _understand(self, text: str, final: bool) -> TurnEvent | None:
        if words_of(text):
            self._silences = 0
        utterance = self._utterance or self._dropped
        if utterance is None or utterance.confirmed:
            return None
        if self.means(text, interrupting=utterance.interrupting, final=final):
            resumes = self._utterance is None and self._goes_on(utterance)
            utterance.over = self._utterance is None and not resumes
            self._utterance, self._dropped = utterance, None
            return self._confirm(utterance, resumes=resumes)
        if final and utterance.interrupting and self._utterance is not None:
            return self._drop(utterance, "backchannel" if words_of(text) else "noise")
        return None

    def _goes_on(self, dropped: _Utterance) -> bool:
        """Whether there was speech after it was dropped, or may still be."""
        if dropped.dropped_at is None:
            return False
        return dropped.last > dropped.dropped_at or not self._is_over(dropped)

    def _is_over(self, utterance: _Utterance) -> bool:
        return _reached(self._count - utterance.last, self._settings.end_of_turn)

    def _hear(self, probability: float, agent_speaking: bool) -> None:
        self._count += 1
        self.probability = probability
        if self._utterance is not None and self._utterance.over:
            self._end(self._utterance)
        utterance = self._utterance
        if utterance is None:
            self._wait(probability, agent_speaking)
        else:
            self._follow(utterance, probability, agent_speaking)
        if agent_speaking or (self._utterance is not None and self._utterance.confirmed):
            self._quiet_since = self._count
        elif self._utterance is None:
            self._watch_silence()

    def _wait(self, probability: float, agent_speaking: bool) -> None:
        """Look out for the beginning of speech."""
        dropped = self._dropped
        if dropped is not None and dropped.dropped_at is not None and not self._is_over(dropped):
            if probability >= self._settings.stop_below:
                dropped.last = self._count
        else:
            dropped = None
        if probability < self._settings.start_above:
            self._rising = self._rising_sure = 0
            self._dip_awaited = False
            return
        self._rising += 1
        self._rising_sure += probability >= self._settings.sure_above
        if self._dip_awaited:
            begun = _reached(self._rising_sure, self._settings.confirm)
        else:
            begun = _reached(self._rising, self._settings.onset)
        if not begun:
            return
        self._utterance = _Utterance(
            self._count, self._rising, self._rising_sure, interrupting=agent_speaking
        )
        if dropped is not None:
            self._utterance.first = dropped.first
        self._rising = self._rising_sure = 0
        self._dip_awaited = False
        self._dropped = None
        self._events.append(SpeechStarted(self.elapsed, resumes=dropped is not None))
        self._decide(self._utterance)

    def _follow(self, utterance: _Utterance, probability: float, agent_speaking: bool) -> None:
        """Decide about the speech that has begun, and look out for its end."""
        utterance.interrupting |= agent_speaking
        if probability >= self._settings.stop_below:
            utterance.last = self._count
            utterance.voiced += probability >= self._settings.start_above
            utterance.sure += probability >= self._settings.sure_above
        if not utterance.confirmed:
            self._decide(utterance)
        elif self._has_ended(utterance) or _reached(
            self._count - utterance.started, self._settings.longest or math.inf
        ):
            self._end(utterance)

    def _has_ended(self, utterance: _Utterance) -> bool:
        if not self._is_over(utterance):
            return False
        return not self.waits() or _reached(self._count - utterance.last, UNFINISHED)

    def _decide(self, utterance: _Utterance) -> None:
        settings = self._settings
        quiet = self._count - utterance.last
        if utterance.interrupting:
            confirmed = _reached(utterance.sure, settings.confirm)
        else:
            confirmed = _reached(utterance.voiced, settings.shortest)
        if confirmed:
            self._events.append(self._confirm(utterance))
        elif not _reached(utterance.voiced, settings.shortest) and _reached(quiet, _QUIET):
            self._events.append(self._drop(utterance, "noise"))
        elif _reached(quiet, settings.drop_after) or _reached(
            self._count - utterance.started, settings.decide_within
        ):
            self._events.append(self._drop(utterance, "too_short"))

    def _confirm(self, utterance: _Utterance, *, resumes: bool = False) -> SpeechConfirmed:
        utterance.confirmed = True
        self._silences = 0
        return SpeechConfirmed(self.elapsed, resumes)

    def _drop(self, utterance: _Utterance, reason: DropReason) -> SpeechDropped:
        self._utterance = None
        self._dropped = utterance
        quiet = self._settings.drop_after if reason != "noise" else _QUIET
        if not _reached(self._count - utterance.last, quiet):
            utterance.dropped_at = self._count
        # Speech that continues after the drop must not start again at once: the agent would
        # stutter.
        self._dip_awaited = utterance.last == self._count
        return SpeechDropped(self.elapsed, reason)

    def _end(self, utterance: _Utterance) -> None:
        self._utterance = None
        self._events.append(
            TurnEnded(
                at=self.elapsed,
                speech_ended_at=_seconds(utterance.last),
                speech_seconds=_seconds(utterance.last - utterance.first),
            )
        )

    def _watch_silence(self) -> None:
        silence = self._settings.silence
        if silence is None or not _reached(self._count - self._quiet_since, silence):
            return
        self._quiet_since = self._count
        self._silences += 1
        self._events.append(CallerSilent(self.elapsed, self._silences))


class _Utterance:
    """Speech that has begun; times and lengths in steps.

    Attributes:
        started: When it was noticed.
        first: When it began.
        last: When there was speech for the last time.
        voiced: How much speech there was.
        sure: How much of that was beyond doubt.
        interrupting: Whether the agent was speaking at any time until it was decided.
        confirmed: Whether it is decided.
        dropped_at: When it was dropped, if the caller had not paused and may continue.
        over: Whether it was confirmed after it had ended.

    """

    __slots__ = (
        "confirmed",
        "dropped_at",
        "first",
        "interrupting",
        "last",
        "over",
        "started",
        "sure",
        "voiced",
    )

    def __init__(self, now: int, voiced: int, sure: int, *, interrupting: bool) -> None:
        self.started = now
        self.first = now - voiced
        self.last = now
        self.voiced = voiced
        self.sure = sure
        self.interrupting = interrupting
        self.confirmed = False
        self.dropped_at: int | None = None
        self.over = False


def _seconds(steps: int) -> float:
    return steps / _STEPS_A_SECOND


def _reached(steps: int, seconds: float) -> bool:
    """Whether `steps` last `seconds`, give or take half a step."""
    return _seconds(steps) + STEP / 2 > seconds


class _Steps:
    """Cuts frames into steps of 20 ms. One that has this length already is passed on as it is."""

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._format: AudioFormat | None = None

    def cut(self, frame: Frame) -> Iterator[Frame]:
        if frame.format is not self._format:
            self._start(frame.format)
        payload = frame.payload
        if not self._rest and len(payload) == self._size:
            yield frame
            return
        payload = self._rest + payload
        whole = len(payload) // self._size * self._size
        self._rest = payload[whole:]
        for start in range(0, whole, self._size):
            yield Frame(payload[start : start + self._size], frame.format, frame.track)

    def _start(self, format: AudioFormat) -> None:
        if self._format is not None:
            raise ValueError(f"a call's audio was {self._format} so far and must not be {format}")
        self._format = format
        self._size = format.rate // _STEPS_A_SECOND * format.sample_bytes
