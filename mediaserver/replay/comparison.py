"""Two runs of one call side by side: what was heard, when, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiocodecs import Samples
from mediaserver.replay.alignment import AudioAlignment, aligned
from mediaserver.replay.captured_call import CapturedCall, Decision
from mediaserver.replay.heard_call import HeardCall


_FRAMES: Final = 50
"""Frames in a second, by which differing audio is counted."""

_COUNTED: Final = {
    "understood": "utterances understood",
    "barge-in": "barge-ins",
    "reply begins": "replies",
    "tool begins": "tools called",
    "service failed": "services failed",
}
"""The decisions that are counted, and what their number is called."""

_STAGES: Final = {
    "audio_sent": "median, caller's last word to audio sent",
    "audio_heard": "median, caller's last word to audio heard",
}
"""The stages of a turn whose median is told, and what it is called."""


_USED: Final = {
    "tokens_in": ("tokens that models read", ""),
    "tokens_out": ("tokens that models wrote", ""),
    "characters": ("characters synthesised", ""),
    "speech_seconds": ("speech transcribed", "s"),
}
"""What turns use of paid services, what its sum is called, and the unit."""


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of both runs; None if it is unknown or there is none."""

    name: str
    captured: float | None
    replayed: float | None
    unit: str = ""


ONE_FRAME: Final = 0.02
"""Seconds by which a frame that misses its moment shifts what follows."""

_TOLERANCES: Final = (ONE_FRAME, 0.1, 0.5)
"""Seconds of tolerance that are tried to tell audio that is late from audio that is other audio."""


@dataclass(frozen=True, slots=True)
class ShiftedAudio:
    """A stretch of the captured call that is heard at another time now.

    Attributes:
        start: when it begins in the captured call, in seconds since the start of the stream.
        end: when it ends there.
        shift: by how many seconds it is heard later now; earlier if it is negative.

    """

    start: float
    end: float
    shift: float


@dataclass(frozen=True)
class CallComparison:
    """A captured call, and the same call against the code of today.

    Attributes:
        call: the captured call.
        captured: what its caller heard.
        replayed: what the caller hears now.
        errors: what the handler raised in the replay.
        tolerance: by how many seconds the same audio may be heard earlier or later, so that it
            does not differ; 0 if it may not. Each stretch of audio may be shifted by itself.

    """

    call: CapturedCall = field(repr=False)
    captured: HeardCall = field(repr=False)
    replayed: HeardCall = field(repr=False)
    errors: Sequence[str] = ()
    tolerance: float = 0.0

    @property
    def heard_alike(self) -> bool:
        """Whether the caller hears the same audio, sample for sample, and at the same times.

        Times that are no more than the tolerance apart are the same.
        """
        return not self.errors and self.first_difference is None

    @property
    def first_difference(self) -> float | None:
        """When the caller first hears something else, in seconds; None if they do not.

        A call that ends earlier or later differs only if something is heard there.
        """
        differing = np.flatnonzero(self._differing())
        return None if not len(differing) else float(differing[0]) / self.captured.format.rate

    @property
    def differing_seconds(self) -> float:
        """Seconds of the call in which the caller hears something else, in frames of 20 ms."""
        return sum(end - start for start, end in self.differing_stretches)

    @property
    def differing_stretches(self) -> list[tuple[float, float]]:
        """Where the caller hears something else: beginnings and ends, in frames of 20 ms."""
        differing = self._differing()
        frame = self.captured.format.rate // _FRAMES
        frames = np.pad(differing, (0, -len(differing) % frame)).reshape(-1, frame).any(axis=1)
        edges = np.flatnonzero(np.diff(frames, prepend=False, append=False)) / _FRAMES
        return [(float(start), float(end)) for start, end in edges.reshape(-1, 2)]

    @property
    def shifts(self) -> list[ShiftedAudio]:
        """What is heard earlier or later, but within the tolerance."""
        rate = self.captured.format.rate
        shifts: list[ShiftedAudio] = []
        previous = 0.0
        for piece in self._alignment.pieces if self._alignment else ():
            shift = piece.shift / rate
            start, end = piece.start / rate, (piece.start + piece.samples) / rate
            if shift and shift == previous:
                shifts[-1] = replace(shifts[-1], end=end)
            elif shift:
                shifts.append(ShiftedAudio(start, end, shift))
            previous = shift
        return shifts

    @property
    def largest_shift(self) -> float:
        """By how many seconds audio is heard earlier or later at most, within the tolerance."""
        return max((abs(each.shift) for each in self.shifts), default=0.0)

    @property
    def with_enough_tolerance(self) -> CallComparison | None:
        """The same with the least usual tolerance with which nothing differs; None without one."""
        if self.errors:
            return None
        wider = (replace(self, tolerance=each) for each in _TOLERANCES if each > self.tolerance)
        return next((each for each in wider if each.heard_alike), None)

    @property
    def both_heard(self) -> Samples:
        """What is heard, ``int16[n, 2]``: in the captured call left, now right."""
        return np.stack(_of_one_length(self.captured.audio, self.replayed.audio), axis=1)

    @property
    def difference(self) -> str:
        """What differs in what is heard, in a sentence; empty if nothing does."""
        if self.errors:
            return f"the handler raised {self.errors[0]}"
        first = self.first_difference
        if first is None:
            return ""
        return (
            f"from {first:.2f} s on the caller hears something else, for"
            f" {self.differing_seconds:.2f} s in all"
        )

    @property
    def verdict(self) -> str:
        """What the caller hears now, in a sentence."""
        if self.difference:
            return self.difference
        if not self.shifts:
            return "the caller hears the same audio, sample for sample"
        seconds = sum(each.end - each.start for each in self.shifts)
        return (
            f"the caller hears the same audio, {seconds:.2f} s of it up to"
            f" {1_000 * self.largest_shift:.0f} ms earlier or later, from"
            f" {self.shifts[0].start:.2f} s on"
        )

    @property
    def figures(self) -> list[ComparedFigure]:
        """The figures of both runs."""
        one, other = self.captured, self.replayed
        figures = [
            ComparedFigure("length of the call", one.seconds, other.seconds, "s"),
            ComparedFigure("first audio heard", one.first_audio, other.first_audio, "s"),
            ComparedFigure("audio heard", one.heard, other.heard, "s"),
            ComparedFigure("gaps", len(one.gaps), len(other.gaps)),
            ComparedFigure("seconds of gaps", _total(one.gaps), _total(other.gaps), "s"),
            ComparedFigure("audio taken back", _total(one.clears), _total(other.clears), "s"),
            ComparedFigure("checkpoints played", len(one.checkpoints), len(other.checkpoints)),
        ]
        for what, name in _COUNTED.items():
            counts = _count(one.decisions, what), _count(other.decisions, what)
            if any(counts):
                figures.append(ComparedFigure(name, *counts))
        for stage, name in _STAGES.items():
            medians = _median(one.decisions, stage), _median(other.decisions, stage)
            if medians != (None, None):
                figures.append(ComparedFigure(name, *medians, "s"))
        for name, (called, unit) in _USED.items():
            sums = _sum(one.decisions, name), _sum(other.decisions, name)
            if sums != (None, None):
                figures.append(ComparedFigure(called, *sums, unit))
        figures += [
            ComparedFigure("messages sent", one.messages, other.messages),
            ComparedFigure("CPU of the call", one.cpu, other.cpu, "s"),
        ]
        return figures

    @property
    def words(self) -> list[tuple[list[str], list[str]]]:
        """What was said in each turn, caller and agent: in the captured call, and now."""
        captured, replayed = _words(self.captured.decisions), _words(self.replayed.decisions)
        turns = max(len(captured), len(replayed))
        captured += [[]] * (turns - len(captured))
        replayed += [[]] * (turns - len(replayed))
        return list(zip(captured, replayed, strict=True))

    @cached_property
    def _alignment(self) -> AudioAlignment | None:
        if not self.tolerance:
            return None
        rate = self.captured.format.rate
        one, other = self.captured.audio, self.replayed.audio
        return aligned(one, other, rate=rate, tolerance=self.tolerance)

    def _differing(self) -> NDArray[np.bool_]:
        if self._alignment:
            return self._alignment.differing
        one, other = _of_one_length(self.captured.audio, self.replayed.audio)
        return np.not_equal(one, other)


def _of_one_length(one: Samples, other: Samples) -> tuple[Samples, Samples]:
    length = max(len(one), len(other))
    return np.pad(one, (0, length - len(one))), np.pad(other, (0, length - len(other)))


def _total(stretches: Sequence[tuple[float, float]]) -> float:
    return sum(seconds for _, seconds in stretches)


def _count(decisions: Sequence[Decision], what: str) -> int:
    return sum(each.what == what for each in decisions)


def _median(decisions: Sequence[Decision], stage: str) -> float | None:
    found = [
        float(each.details[stage])
        for each in decisions
        if each.what == "turn" and isinstance(each.details.get(stage), int | float)
    ]
    return float(np.median(found)) if found else None


def _sum(decisions: Sequence[Decision], name: str) -> float | None:
    """Return what all turns used; None if no turn says that it used anything."""
    told = [each.details.get("usage") for each in decisions if each.what == "turn"]
    found = [usage.get(name, 0) for usage in told if isinstance(usage, dict)]
    return sum(each for each in found if isinstance(each, int | float)) if found else None


def _words(decisions: Sequence[Decision]) -> list[list[str]]:
    found = [each.details.get("words") for each in decisions if each.what == "turn"]
    return [list(map(str, words)) if isinstance(words, list) else [] for words in found]
