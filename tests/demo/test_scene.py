from collections.abc import Callable
from typing import Any

import pytest

from mediaserver import Frame
from mediaserver.demo.agent import HOLD, Receptionist
from mediaserver.demo.moment import Moment
from mediaserver.demo.scene import (
    ANSWER,
    CHANGE,
    CUT_AFTER,
    FAREWELL,
    NOD,
    NOD_AFTER,
    OFFER,
    REQUEST,
    Scene,
    times,
)
from mediaserver.demo.verdict import LONGEST_CALL
from mediaserver.handler import Handler
from mediaserver.sandbox import CallReport, Phone


def loud(report: CallReport, start: float, end: float) -> tuple[bool, bool]:
    """Return whether the caller and the agent are heard between two times of a recording."""
    assert report.recording is not None
    piece = report.recording[round(start * 8000) : round(end * 8000)].astype(float)
    caller, agent = (piece * piece).mean(axis=0) ** 0.5 > 300
    return bool(caller), bool(agent)


@pytest.fixture
def at(performed: tuple[Scene, list[Moment], CallReport]) -> Callable[..., Any]:
    """When something was told first."""
    _, moments, _ = performed

    def at(who: str, text: str) -> float:
        return next(
            each.time
            for each in moments
            if each.who == who and (each.text.startswith(text) or each.words == text)
        )

    return at


def test_both_say_what_they_should(performed: tuple[Scene, list[Moment], CallReport]) -> None:
    _, moments, _ = performed
    assert [(each.who, each.words) for each in moments if each.aloud and each.words] == [
        ("agent", Receptionist.greeting),
        ("caller", REQUEST),
        ("agent", HOLD),
        ("agent", OFFER),
        ("caller", CHANGE),
        ("agent", ANSWER),
        ("caller", NOD),
        ("caller", FAREWELL),
        ("agent", "Goodbye, and see you tonight!"),
    ]


def test_what_was_understood_is_told(performed: tuple[Scene, list[Moment], CallReport]) -> None:
    _, moments, _ = performed
    understood = [each.words for each in moments if each.text == "understands"]
    assert understood == [REQUEST, CHANGE, NOD, FAREWELL]


def test_what_is_remembered_of_the_interrupted_answer_is_told(
    performed: tuple[Scene, list[Moment], CallReport],
) -> None:
    _, moments, _ = performed
    (remembered,) = (each.words for each in moments if each.text.startswith("remembers"))
    kept = remembered.removeprefix(HOLD).strip()
    assert kept
    assert OFFER.startswith(kept)
    assert kept != OFFER


def test_the_moments_come_in_order(performed: tuple[Scene, list[Moment], CallReport]) -> None:
    _, moments, _ = performed
    assert [each.time for each in moments] == sorted(each.time for each in moments)
    assert moments[-1].text == "hangs up"


def test_the_recording_has_each_voice_where_the_timeline_says(
    performed: tuple[Scene, list[Moment], CallReport], at: Callable[..., Any]
) -> None:
    _, moments, report = performed
    times = {each.label: each.time for each in moments if each.label}
    cut, nods, resumed = times["interrupts"], times["nods"], times["goes on"]
    assert loud(report, times["greets"], at("agent", "has finished")) == (False, True)
    assert loud(report, times["asks"], at("caller", "has finished")) == (True, False)
    assert loud(report, times["holds"], cut) == (False, True)
    assert loud(report, cut + 0.2, cut + 2) == (True, False)
    assert loud(report, times["answers"], nods) == (False, True)
    assert loud(report, nods + 0.2, resumed) == (True, False)
    assert loud(report, resumed, resumed + 1) == (False, True)


def test_the_caller_cuts_in_where_they_should(
    performed: tuple[Scene, list[Moment], CallReport], at: Callable[..., Any]
) -> None:
    assert at("caller", CHANGE) == pytest.approx(at("agent", OFFER) + CUT_AFTER, abs=0.05)
    assert at("caller", NOD) == pytest.approx(at("agent", ANSWER) + NOD_AFTER, abs=0.05)


def test_the_call_takes_as_long_as_expected(
    performed: tuple[Scene, list[Moment], CallReport],
) -> None:
    scene, _, report = performed
    assert report.duration == pytest.approx(scene.seconds, abs=1.0)
    assert report.ended_by == "server"


def test_nothing_is_told_that_did_not_happen(perform: Callable[..., Any]) -> None:
    _, moments, report = perform(Handler)
    assert [each.label for each in moments] == ["calls"]
    assert report.duration == pytest.approx(LONGEST_CALL, abs=0.02)


def test_a_call_that_the_server_ends_is_told_so_far(perform: Callable[..., Any]) -> None:
    class Busy(Handler):
        async def on_audio(self, frame: Frame) -> None:
            self.stream.close()

    _, moments, report = perform(Busy)
    assert [each.label for each in moments] == ["calls"]
    assert report.ended_by == "server"


def test_times_of_what_has_not_happened_are_none() -> None:
    assert times(Phone("ws://agent.example/stream"), "caller_speaks") == []
