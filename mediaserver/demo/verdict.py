"""Whether what should have happened in the demo's call did, going by the phone's report alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from audiocodecs import AudioFormat, Samples, resample
from mediaserver.demo.scene import PAUSE, Scene
from mediaserver.sandbox import CallReport


REPLY_WITHIN: Final = PAUSE + 0.15
"""Seconds: the pause that tells the parrot the caller has finished, and some frames around it."""

SILENCE_WITHIN: Final = 0.04
"""Seconds: the 20 ms that the phone is playing when the key is pressed, and the next."""

ALIKE: Final = 0.9
"""Two clips above this `likeness` are the same words in the same voice."""

LONGEST_CALL: Final = 20.0
"""Seconds that the call may take."""

_LENGTH_TOLERANCE: Final = 0.1

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that should have happened.

    Attributes:
        name: What should have happened.
        passed: Whether it did.
        found: What did happen, with figures.

    """

    name: str
    passed: bool
    found: str


@dataclass(frozen=True, slots=True)
class Figures:
    """The call in five numbers, in seconds. None is what did not happen.

    Attributes:
        first_audio: From the start of the stream to the agent's first audio.
        reply: From the caller's last word to the agent's first.
        silence: From the key to silence.
        gaps: Sum of the gaps in the agent's audio.
        call: Length of the call.

    """

    first_audio: float | None
    reply: float | None
    silence: float | None
    gaps: float
    call: float

    @classmethod
    def of(cls, report: CallReport) -> Figures:
        """Pick them from a report."""
        reply = report.replies[0].seconds if report.replies else None
        cut = next((each for each in report.interrupts if each.by.startswith("key")), None)
        return cls(
            first_audio=report.first_audio,
            reply=reply,
            silence=cut.seconds if cut else None,
            gaps=report.gap_seconds,
            call=report.duration,
        )


def judge(report: CallReport, scene: Scene) -> list[Check]:
    """Hold the report of a call against the scene that should have been played.

    The phone's own lateness, when the machine is busy, is not held against the server.
    """
    rate = AudioFormat.parse(report.format).rate
    voices = _Voices(report, rate)
    figures = Figures.of(report)
    late = report.sender_lateness
    first, second = (*report.caller_speech, None, None)[:2]

    waited = f"a pause of {1000 * PAUSE:.0f} ms included"
    busy = f"; the phone was up to {1000 * late:.0f} ms late itself" if late > 0.04 else ""
    greeting = voices.agent_between(0.0, first[0] if first else math.inf)
    reply = voices.agent_between(first[1], second[0] if second else math.inf) if first else None
    again = voices.agent_between(second[1], math.inf) if second else None
    wanted = resample(scene.greeting.samples, scene.greeting.rate, rate)
    objections = {**report.errors, **report.warnings}
    return [
        voices.heard_whole("the greeting is heard to its end", greeting, wanted),
        _within("a reply comes when the caller pauses", figures.reply, REPLY_WITHIN + late, waited),
        voices.heard_part("it is what the caller said", reply, voices.caller(first)),
        _within("the key silences it", figures.silence, SILENCE_WITHIN + late),
        _cut_short(reply, first),
        voices.heard_whole("the next reply is heard to its end", again, voices.caller(second)),
        Check(
            "the agent's audio has no gaps",
            figures.gaps == 0.0,
            f"{1000 * figures.gaps:.0f} ms{busy}",
        ),
        Check(
            "the phone has no objections",
            not objections,
            "; ".join(f"{text} ({count})" for text, count in objections.items()) or "none",
        ),
        Check(
            f"the caller hangs up within {LONGEST_CALL:g} s",
            report.ended_by == "caller" and figures.call < LONGEST_CALL,
            f"{figures.call:.1f} s, ended by {_ender(report)}",
        ),
    ]


def likeness(heard: Samples, said: Samples) -> float:
    """Return how alike two clips are where they match best: the peak of their correlation.

    One is the same clip, whatever its loudness and however much silence is around it; unrelated
    speech has 0.2 or less.
    """
    first, second = heard.astype(np.float64), said.astype(np.float64)
    energy = math.sqrt(float(first @ first) * float(second @ second))
    if not energy:
        return 0.0
    size = len(first) + len(second)
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    return float(np.max(np.fft.irfft(spectrum, size))) / energy


class _Voices:
    """Both voices of a recorded call."""

    def __init__(self, report: CallReport, rate: int) -> None:
        recording = report.recording
        self._samples = np.zeros((0, 2), np.int16) if recording is None else recording
        self._rate = rate
        self._speech = report.agent_speech

    def agent_between(self, start: float, end: float) -> Span | None:
        """Return from where to where the agent was heard between two times."""
        spans = [span for span in self._speech if start <= span[0] < end]
        return (spans[0][0], spans[-1][1]) if spans else None

    def caller(self, span: Span | None) -> Samples:
        """Return what the caller said."""
        return self._cut(span, 0)

    def heard_whole(self, name: str, span: Span | None, wanted: Samples) -> Check:
        """Check that the agent was heard to say all of something."""
        heard = self._cut(span, 1)
        if span is None or not len(wanted):
            return Check(name, False, "nothing was heard")
        # Speech begins and ends in sound; what is wanted may have a little silence around it.
        short = (len(wanted) - len(heard)) / self._rate
        alike = likeness(heard, wanted)
        found = (
            f"{len(heard) / self._rate:.2f} s of {len(wanted) / self._rate:.2f} s,"
            f" {100 * alike:.0f} % alike"
        )
        return Check(name, short < _LENGTH_TOLERANCE and alike > ALIKE, found)

    def heard_part(self, name: str, span: Span | None, wanted: Samples) -> Check:
        """Check that the agent was heard to say the beginning of something."""
        heard = self._cut(span, 1)
        if span is None or not len(wanted):
            return Check(name, False, "nothing was heard")
        alike = likeness(heard, wanted[: len(heard)])
        return Check(name, alike > ALIKE, f"{100 * alike:.0f} % alike")

    def _cut(self, span: Span | None, channel: int) -> Samples:
        start, end = span or (0.0, 0.0)
        return self._samples[round(start * self._rate) : round(end * self._rate), channel]


def _within(name: str, seconds: float | None, most: float, note: str = "") -> Check:
    if seconds is None:
        return Check(name, False, "it did not happen")
    found = f"{1000 * seconds:.0f} ms"
    if seconds > most + 1e-6:
        return Check(name, False, f"{found}, more than {1000 * most:.0f}")
    return Check(name, True, f"{found}, {note}" if note else found)


def _cut_short(reply: Span | None, said: Span | None) -> Check:
    name = "the rest of it is not heard"
    if reply is None or said is None:
        return Check(name, False, "there was no reply")
    rest = (said[1] - said[0]) - (reply[1] - reply[0])
    return Check(name, rest > 1.0, f"{max(0.0, rest):.1f} s unsaid")


def _ender(report: CallReport) -> str:
    if report.ended_by == "caller":
        return "the caller"
    reason = f": {report.close_reason}" if report.close_reason else ""
    return f"{report.ended_by or 'nobody'}, code {report.close_code}{reason}"
