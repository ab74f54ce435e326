import numpy as np
import pytest

from mediaserver.demo.scene import FAREWELL, GREETING, KEY_AFTER, PAUSE, SENTENCE, times
from mediaserver.handler import Handler
from mediaserver.sandbox import Phone


def loud(report, start, end):
    """Return whether the caller and the agent are heard between two times of a recording."""
    piece = report.recording[round(start * 8000) : round(end * 8000)].astype(float)
    caller, agent = np.sqrt(np.mean(piece * piece, axis=0)) > 500
    return bool(caller), bool(agent)


@pytest.fixture
def performed(perform):
    return perform()


def test_the_moments_come_in_order(performed):
    moments, _ = performed
    told = [(each.who, each.words or each.text.partition(" after")[0]) for each in moments]
    assert told[1:] == [
        ("agent", GREETING),
        ("agent", "has finished"),
        ("caller", SENTENCE),
        ("caller", "has finished"),
        ("agent", "repeats it"),
        ("caller", "presses 5"),
        ("agent", "silent"),
        ("caller", FAREWELL),
        ("caller", "has finished"),
        ("agent", "repeats it"),
        ("agent", "has finished"),
        ("caller", "hangs up"),
    ]
    assert [each.time for each in moments] == sorted(each.time for each in moments)


def test_the_recording_has_each_voice_where_the_timeline_says(performed):
    moments, report = performed
    _, greets, greeted, speaks, spoke, repeats, key, silent, again, paused, replies, ends, _ = (
        each.time for each in moments
    )
    assert loud(report, greets, greeted) == (False, True)
    assert loud(report, greeted, speaks) == (False, False)
    assert loud(report, speaks, spoke) == (True, False)
    assert loud(report, spoke, repeats) == (False, False)
    assert loud(report, repeats, key) == (False, True)
    assert loud(report, silent, again) == (False, False)
    assert loud(report, again, paused) == (True, False)
    assert loud(report, paused, replies) == (False, False)
    assert loud(report, replies, ends) == (False, True)


def test_the_key_comes_in_the_middle_of_the_reply(performed):
    moments, report = performed
    repeats, key, silent = (each.time for each in moments[5:8])
    assert key == pytest.approx(repeats + KEY_AFTER)
    assert silent == pytest.approx(key + 0.02)
    assert report.audio_cleared > 0.4


def test_the_parrot_waits_for_the_pause_and_no_longer(performed):
    _, report = performed
    assert [each.seconds for each in report.replies] == pytest.approx([PAUSE + 0.05] * 2, abs=0.02)


def test_the_call_takes_as_long_as_expected(performed, scene):
    _, report = performed
    assert report.duration == pytest.approx(scene.seconds, abs=0.3)
    assert report.ended_by == "caller"


def test_nothing_is_told_that_did_not_happen(perform):
    moments, report = perform(Handler)
    assert [each.label for each in moments] == ["calls"]
    assert report.duration == pytest.approx(20.0, abs=0.02)


def test_a_call_that_the_server_ends_is_told_so_far(perform):
    class Busy(Handler):
        async def on_audio(self, frame):
            self.stream.close()

    moments, report = perform(Busy)
    assert [each.label for each in moments] == ["calls"]
    assert report.ended_by == "server"


def test_times_of_what_has_not_happened_are_none():
    assert times(Phone("ws://agent.example/stream"), "caller_speaks") == []
