"""Checks of the demo's call, by what the phone heard and what the agent noted."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from audiocodecs import AudioFormat, Samples
from mediaserver.agents.services import Message, Text
from mediaserver.demo.agent import HOLD, AgentNotes, Receptionist, SpokenClip
from mediaserver.demo.scene import ANSWER, CHANGE, FAREWELL, NOD, OFFER, REQUEST, TOOL_CALL, Scene
from mediaserver.sandbox import CallReport


SILENCE_WITHIN: Final = 0.2
"""Longest time from the caller's first sound to silence at their ear, in seconds."""

REPLY_WITHIN: Final = 3.0
"""Longest time from the caller's last word to the agent's first, in seconds.

It includes the 0.6 s of silence that end the caller's turn, and before the first reply the 0.8 s
that a tool may take without a hold phrase. The rest is for slow machines: 0.2 s are usual.
"""

SHIFT: Final = 0.06
"""Seconds by which the agent may resume before or after the place where it fell silent."""

ALIKE: Final = 0.9
"""Two clips above this likeness are the same recording."""

LONGEST_CALL: Final = 60.0
"""Longest call, in seconds."""

_EXCERPT: Final = 1.2  # seconds of a clip to look for, where only a part was heard
_NOD_INDEX: Final = 2  # of the caller's utterances
_WORD: Final = re.compile(r"[\w']+")


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
class CallFigures:
    """The call's figures in seconds; None for something that did not happen.

    Attributes:
        first_audio: From the start of the stream to the agent's first audio.
        reply: From the caller's last word to the agent's first; the longest reply counts.
        silence: From the interruption's first sound to silence.
        nod_silence: From the first sound of the "Okay." to silence.
        gaps: Sum of the gaps in the agent's audio.
        call: Length of the call.

    """

    first_audio: float | None
    reply: float | None
    silence: float | None
    nod_silence: float | None
    gaps: float
    call: float

    @classmethod
    def of(cls, report: CallReport) -> CallFigures:
        """Return the figures of a report."""
        # After the nod the agent only continues.
        replies = [each for index, each in enumerate(report.replies) if index != _NOD_INDEX]
        spoken = [each.seconds for each in replies if each.seconds is not None]
        cuts = [each.seconds for each in report.interrupts if each.by == "speech"]
        silence, nod_silence = (*cuts, None, None)[:2]
        return cls(
            first_audio=report.first_audio,
            reply=max(spoken, default=None),
            silence=silence,
            nod_silence=nod_silence,
            gaps=report.gap_seconds,
            call=report.duration,
        )


def judge(report: CallReport, scene: Scene) -> list[Check]:
    """Check a call against its scene.

    The phone's report says what was heard; the agent's notes say what it understood, did and
    remembers. On a busy machine the phone itself may be late: its lateness is allowed for.
    """
    notes = scene.notes
    heard = _Heard(report)
    clips = scene.voice.clips
    figures = CallFigures.of(report)
    late = report.sender_lateness
    busy = f"; the phone was up to {1000 * late:.0f} ms late itself" if late > 0.04 else ""
    failures = [turn.error for turn in notes.turns if turn.error]
    objections = {**report.errors, **report.warnings}
    return [
        heard.whole("the greeting is heard whole", clips.get(Receptionist.greeting)),
        *_understood(notes),
        _tool_used(notes),
        heard.whole("a hold phrase is heard", clips.get(HOLD)),
        _within("replies come soon", figures.reply, REPLY_WITHIN + late),
        _within("the interruption silences it", figures.silence, SILENCE_WITHIN + late),
        _remembers(heard, clips.get(OFFER), notes.messages),
        _goes_on(heard, clips.get(ANSWER), figures, notes),
        heard.whole("its goodbye is heard whole", clips.get(Receptionist.goodbye)),
        Check(
            "the agent's audio has no gaps",
            figures.gaps == 0.0,
            f"{1000 * figures.gaps:.0f} ms{busy}",
        ),
        Check("no service fails", not failures, "; ".join(failures) or "none does"),
        Check(
            "the phone has no objections",
            not objections,
            "; ".join(f"{text} ({count})" for text, count in objections.items()) or "none",
        ),
        Check(
            f"the agent hangs up within {LONGEST_CALL:g} s",
            report.ended_by == "server" and report.close_code == 1000,
            f"{figures.call:.1f} s, {_ender(report)}",
        ),
    ]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def find(heard: Samples, said: Samples) -> tuple[int, float]:
    """Find the place where a clip fits best in what was heard.

    Returns:
        The sample at which it begins, and the likeness there: 1 is the same clip at any loudness,
        and unrelated speech has 0.3 or less.

    """
    if not len(said) or len(heard) < len(said):
        return 0, 0.0
    first, second = heard.astype(np.float64), said.astype(np.float64)
    size = 1 << (len(first) - 1).bit_length()  # a transform is fast at a power of two
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    fit = np.fft.irfft(spectrum, size)[: len(first) - len(second) + 1]
    start = int(np.argmax(fit))
    there = first[start : start + len(second)]
    energy = math.sqrt(float(there @ there) * float(second @ second))
    return start, float(fit[start]) / energy if energy else 0.0


class _Heard:
    """What the phone heard of the agent."""

    def __init__(self, report: CallReport) -> None:
        recording = report.recording
        self.rate = AudioFormat.parse(report.format).rate
        self.samples = np.zeros(0, np.int16) if recording is None else recording[:, 1]
        self.speech = report.agent_speech
        self.cuts = [each for each in report.interrupts if each.by == "speech"]

    def whole(self, name: str, clip: SpokenClip | None) -> Check:
        """Check that all of a clip was heard."""
        if clip is None:
            return Check(name, False, "it was never said")
        _, alike = find(self.samples, clip.sound)
        found = f"{len(clip.sound) / self.rate:.2f} s, {100 * alike:.0f} % alike"
        return Check(name, alike > ALIKE, found)

    def excerpt(self, samples: Samples) -> float | None:
        """Return when a part of a clip began to be heard, or None if it was not heard."""
        start, alike = find(self.samples, samples)
        return start / self.rate if alike > ALIKE else None

    def silent(self, index: int) -> float | None:
        """Return when the agent fell silent at the caller's interruption number `index`."""
        cut = self.cuts[index] if index < len(self.cuts) else None
        return cut.time + cut.seconds if cut and cut.seconds is not None else None

    def resumed(self, after: float) -> float | None:
        """Return when the agent was next heard."""
        return next((start for start, _ in self.speech if start > after - 1e-6), None)


def _understood(notes: AgentNotes) -> list[Check]:
    transcripts = [turn.caller for turn in notes.turns if turn.number]
    checks = []
    sentences = {"request": REQUEST, "change": CHANGE, "goodbye": FAREWELL}
    for index, (name, sentence) in enumerate(sentences.items()):
        found = transcripts[index] if index < len(transcripts) else ""
        understood = words(found) == words(sentence)
        how = "word for word" if understood else f"as \u201c{found}\u201d"
        checks.append(Check(f"the {name} is understood", understood, how))
    return checks


def _tool_used(notes: AgentNotes) -> Check:
    found = ", ".join(notes.calls) or "nothing was"
    return Check("a tool is used", notes.calls == [TOOL_CALL], found)


def _within(name: str, seconds: float | None, most: float) -> Check:
    if seconds is None:
        return Check(name, False, "it did not happen")
    found = f"{1000 * seconds:.0f} ms"
    if seconds > most + 1e-6:
        return Check(name, False, f"{found}, more than {1000 * most:.0f}")
    return Check(name, True, found)


def _remembers(heard: _Heard, clip: SpokenClip | None, messages: Sequence[Message]) -> Check:
    """Compare the words that the conversation keeps of the interrupted answer with those played."""
    name = "it remembers what was heard"
    silent = heard.silent(0)
    excerpt = round(_EXCERPT * heard.rate)
    began = heard.excerpt(clip.samples[:excerpt]) if clip else None
    if clip is None or silent is None or began is None:
        return Check(name, False, "it was not interrupted in its answer")
    played = words(OFFER[: clip.spoken(silent - began)])
    kept = words(
        next(
            (
                each.text.removeprefix(HOLD)
                for each in messages
                if isinstance(each, Text) and each.text.startswith(HOLD)
            ),
            "",
        )
    )
    whole = words(OFFER)
    right = abs(len(kept) - len(played)) <= 1 and kept == whole[: len(kept)] and kept != whole
    found = f"{len(kept)} of {len(whole)} words; {len(played)} were played"
    return Check(name, right, found)


def _goes_on(
    heard: _Heard, clip: SpokenClip | None, figures: CallFigures, notes: AgentNotes
) -> Check:
    """Compare where the second answer resumed after the nod with where it fell silent."""
    name = f"\u201c{NOD}\u201d only pauses it"
    silent = heard.silent(1)
    resumed = heard.resumed(silent) if silent is not None else None
    if clip is None or silent is None or resumed is None:
        return Check(name, False, "it did not pause")
    if notes.barge_ins != [True, False]:
        return Check(name, False, "it was taken for an interruption")
    excerpt = round(_EXCERPT * heard.rate)
    sound = clip.sound
    began, ended = heard.excerpt(sound[:excerpt]), heard.excerpt(sound[-excerpt:])
    if began is None or ended is None:
        return Check(name, False, "the answer was not heard from beginning to end")
    inserted = (ended - began) - (len(sound) - excerpt) / heard.rate
    pause = resumed - silent
    shift = inserted - pause
    found = f"{1000 * pause:.0f} ms, and it goes on {1000 * abs(shift):.0f} ms from there"
    return Check(name, abs(shift) <= SHIFT, found)


def _ender(report: CallReport) -> str:
    if report.ended_by in ("caller", None):
        return "ended by the caller"
    reason = f": {report.close_reason}" if report.close_reason else ""
    return f"code {report.close_code}{reason}"
