"""What callers hear of numbered words: which of them are missing, or come twice, and the gaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.conversing import Asking, Line
from benchmarks.servers.word_marks import word_marks_in
from benchmarks.voices import Clip
from mediaserver.protocol import Command, PlayAudio
from mediaserver.sandbox import Phone


_MARK_LENGTH = 9


@dataclass(frozen=True, slots=True)
class HeardAnswer:
    """One answer, as it came to a phone.

    Attributes:
        lost: the number of words that did not come whole.
        twice: how often a word came whole once more.
        gap: the longest silence in it, in seconds.

    """

    lost: int
    twice: int
    gap: float


class Following(Asking):
    """Callers who ask, and write down the marks of words in what they hear.

    Attributes:
        marks: those of each line: the number of a word, whether the mark is the one at its end, and
            when it came, on the monotonic clock.

    """

    def __init__(self, clips: Sequence[Clip], talk: float, *, within: float | None = None) -> None:
        super().__init__(clips, talk, within=within)
        self.marks: list[list[tuple[int, bool, float]]] = []

    def take(self, phone: Phone) -> Line:
        """Observe a call from now on."""
        line = super().take(phone)
        marks: list[tuple[int, bool, float]] = []
        self.marks.append(marks)
        watch, end = phone.on_command, b""
        assert watch is not None

        def follow(command: Command, now: float) -> None:
            nonlocal end
            watch(command, now)
            if isinstance(command, PlayAudio):
                audio = end + bytes(command.payload)
                marks.extend((number, ended, now) for number, ended, _ in word_marks_in(audio))
                end = audio[-(_MARK_LENGTH - 1) :]

        phone.on_command = follow
        return line

    def answers(self, words: int) -> Iterator[HeardAnswer]:
        """Yield the answers of so many words; the last one of a line only if it is complete."""
        for line, marks in zip(self.lines, self.marks, strict=True):
            report = line.phone.report()
            silences = [(gap.start, gap.seconds) for gap in (*report.gaps, *report.pauses)]
            begins = [
                at for at, (number, ended, _) in enumerate(marks) if number == 1 and not ended
            ]
            for begin, end in pairwise([*begins, len(marks)]):
                answer = marks[begin:end]
                ends = [number for number, ended, _ in answer if ended]
                if end == len(marks) and words not in ends:
                    continue
                first, last = answer[0][2] - line.origin, answer[-1][2] - line.origin
                gaps = [seconds for start, seconds in silences if first <= start < last]
                lost, twice = words - len(set(ends)), len(ends) - len(set(ends))
                yield HeardAnswer(lost, twice, max(gaps, default=0.0))
