"""Two runs of one call side by side: what was heard, when, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiocodecs import Samples
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


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of both runs; None if it is unknown or there is none."""

    name: str
    captured: float | None
    replayed: float | None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class CallComparison:
    """A captured call, and the same call against the code of today.

    Attributes:
        call: the captured call.
        captured: what its caller heard.
        replayed: what the caller hears now.
        errors: what the handler raised in the replay.

    """

    call: CapturedCall
    captured: HeardCall
    replayed: HeardCall
    errors: Sequence[str] = ()

    @property
    def heard_alike(self) -> bool:
        """Whether the caller hears the same audio, sample for sample and at the same times."""
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

    def _differing(self) -> NDArray[np.bool_]:
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


def _words(decisions: Sequence[Decision]) -> list[list[str]]:
    found = [each.details.get("words") for each in decisions if each.what == "turn"]
    return [list(map(str, words)) if isinstance(words, list) else [] for words in found]
