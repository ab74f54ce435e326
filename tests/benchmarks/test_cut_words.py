from types import SimpleNamespace
from typing import Any

from benchmarks.cut_words import Following, HeardAnswer
from mediaserver.sandbox.phone.report import Gap


def heard(*marks: tuple[str, float], silences: tuple[tuple[float, float], ...] = ()) -> Any:
    """Return callers of one line: marks such as ``1B`` and ``1E``, and when they came."""
    callers = Following([], 0.5)
    gaps = [Gap(start, seconds) for start, seconds in silences]
    report = SimpleNamespace(gaps=gaps, pauses=[])
    line: Any = SimpleNamespace(phone=SimpleNamespace(report=lambda: report), origin=100.0)
    callers.lines.append(line)
    callers.marks.append([(int(mark[:-1]), mark[-1] == "E", 100.0 + at) for mark, at in marks])
    return callers


WHOLE = (("1B", 1.0), ("1E", 1.2), ("2B", 1.2), ("2E", 1.4))


def test_an_answer_in_which_a_word_was_begun_again_has_lost_none() -> None:
    callers = heard(("1B", 1.0), ("1E", 1.2), ("2B", 1.2), ("2B", 1.5), ("2E", 1.7))
    assert list(callers.answers(2)) == [HeardAnswer(0, 0, 0.0)]


def test_words_that_are_missing_or_come_twice_are_counted() -> None:
    callers = heard(("1B", 1.0), ("1E", 1.2), ("1B", 1.3), ("1E", 1.5), *WHOLE)
    assert [(each.lost, each.twice) for each in callers.answers(2)] == [(1, 0), (1, 0), (0, 0)]
    callers = heard(*WHOLE, ("2B", 1.5), ("2E", 1.7))
    assert list(callers.answers(2)) == [HeardAnswer(0, 1, 0.0)]


def test_the_longest_silence_within_an_answer_counts_and_none_after_it() -> None:
    callers = heard(*WHOLE, silences=((1.1, 0.2), (1.3, 0.1), (1.45, 3.0)))
    assert list(callers.answers(2)) == [HeardAnswer(0, 0, 0.2)]


def test_an_answer_that_the_end_of_the_call_cut_off_does_not_count() -> None:
    assert list(heard(*WHOLE, ("1B", 5.0), ("1E", 5.2)).answers(2)) == [HeardAnswer(0, 0, 0.0)]
