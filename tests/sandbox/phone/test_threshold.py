from dataclasses import replace

import pytest

from mediaserver.sandbox import CallReport, LoadReport, Phone, Spread
from mediaserver.sandbox.phone.report import InterruptReport, ReplyReport
from mediaserver.sandbox.phone.threshold import (
    CALL_FIGURES,
    LOAD_FIGURES,
    Threshold,
    call_figures,
    load_figures,
)


def test_a_threshold_compares_a_figure_with_a_number() -> None:
    threshold = Threshold.parse(" replies.p99 <= 1.5 ", LOAD_FIGURES)
    assert str(threshold) == "replies.p99 <= 1.5"
    assert [threshold.holds(found) for found in (1.4, 1.5, 1.6)] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "value"),
    [("replies.p99<1500ms", 1.5), ("replies.p99<2s", 2.0), ("gaps.max<50ms", 50), ("cut==0", 0)],
)
def test_a_time_may_have_a_unit(text: str, value: float) -> None:
    assert Threshold.parse(text, LOAD_FIGURES).value == value


def test_what_was_not_measured_holds_no_threshold() -> None:
    assert not Threshold.parse("replies.p99<9", LOAD_FIGURES).holds(None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("replies", "is written FIGURE<NUMBER"),
        ("replies.p99<fast", "is written FIGURE<NUMBER"),
        ("replies.p99=1", "compares by <=, >=, ==, <, >"),
        ("reply.p99<1", "did you mean replies.p99"),
        ("zzz<1", "there are calls,"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Threshold.parse(text, LOAD_FIGURES)


def test_the_figures_of_a_call() -> None:
    empty: CallReport = Phone("ws://127.0.0.1/").report()
    report = replace(
        empty,
        replies=[ReplyReport(1.0, 0.4), ReplyReport(3.0, None)],
        interrupts=[InterruptReport(2.0, "speech", 0.1, 1.0), InterruptReport(5.0, "key 1", 4.0)],
        errors={"one": 2},
    )
    figures = call_figures(report)
    assert tuple(figures) == tuple(CALL_FIGURES)
    assert (figures["unanswered"], figures["uninterrupted"], figures["errors"]) == (1, 1, 2)
    assert (figures["replies.max"], figures["interrupts.max"]) == (0.4, 0.1)
    assert call_figures(empty)["replies.p50"] is None


def test_the_figures_of_a_load() -> None:
    report = LoadReport("", "", 3, 1.0, 1.0, failed={"HTTP 404": 2}, replies=Spread(4, 1, 2, 3))
    figures = load_figures(report)
    assert tuple(figures) == LOAD_FIGURES
    assert (figures["failed"], figures["replies.p99"], figures["connect.p99"]) == (2, 2, None)
