import pytest

from mediaserver.demo.agent import HOLD, Receptionist
from mediaserver.demo.scene import (
    ANSWER,
    CHANGE,
    CUT_AFTER,
    FAREWELL,
    NOD,
    NOD_AFTER,
    OFFER,
    REQUEST,
    times,
)
from mediaserver.demo.verdict import LONGEST_CALL
from mediaserver.handler import Handler
from mediaserver.sandbox import Phone


def loud(report, start, end):
    """Return whether the caller and the agent are heard between two times of a recording."""
    piece = report.recording[round(start * 8000) : round(end * 8000)].astype(float)
    caller, agent = (piece * piece).mean(axis=0) ** 0.5 > 300
    return bool(caller), bool(agent)


@pytest.fixture
def at(performed):
    """When something was told first."""
    _, moments, _ = performed

    def at(who, text):
        return next(
            each.time
            for each in moments
            if each.who == who and (each.text.startswith(text) or each.words == text)
        )

    return at


def test_both_say_what_they_should(performed):
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


def test_what_was_understood_is_told(performed):
    _, moments, _ = performed
    understood = [each.words for each in moments if each.text == "understands"]
    assert understood == [REQUEST, CHANGE, NOD, FAREWELL]


def test_what_is_remembered_of_the_interrupted_answer_is_told(performed):
    _, moments, _ = performed
    (remembered,) = (each.words for each in moments if each.text.startswith("remembers"))
    kept = remembered.removeprefix(HOLD).strip()
    assert kept
    assert OFFER.startswith(kept)
    assert kept != OFFER


def test_the_moments_come_in_order(performed):
    _, moments, _ = performed
    assert [each.time for each in moments] == sorted(each.time for each in moments)
    assert moments[-1].text == "hangs up"


def test_the_recording_has_each_voice_where_the_timeline_says(performed, at):
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


def test_the_caller_cuts_in_where_they_should(performed, at):
    assert at("caller", CHANGE) == pytest.approx(at("agent", OFFER) + CUT_AFTER, abs=0.05)
    assert at("caller", NOD) == pytest.approx(at("agent", ANSWER) + NOD_AFTER, abs=0.05)


def test_the_call_takes_as_long_as_expected(performed):
    scene, _, report = performed
    assert report.duration == pytest.approx(scene.seconds, abs=1.0)
    assert report.ended_by == "server"


def test_nothing_is_told_that_did_not_happen(perform):
    _, moments, report = perform(Handler)
    assert [each.label for each in moments] == ["calls"]
    assert report.duration == pytest.approx(LONGEST_CALL, abs=0.02)


def test_a_call_that_the_server_ends_is_told_so_far(perform):
    class Busy(Handler):
        async def on_audio(self, frame):
            self.stream.close()

    _, moments, report = perform(Busy)
    assert [each.label for each in moments] == ["calls"]
    assert report.ended_by == "server"


def test_times_of_what_has_not_happened_are_none():
    assert times(Phone("ws://agent.example/stream"), "caller_speaks") == []
