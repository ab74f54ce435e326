import pytest

from mediaserver.doctor.loop_speed import judge_speed, loop_speed
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


SUBJECT = Subject(Settings(max_calls=200, workers=2))


def test_a_machine_that_keeps_up_passes() -> None:
    finding = judge_speed(SUBJECT, lag=0.001, frame=10e-6)
    assert finding.status == "ok"
    assert "100 calls in a process use 5% of a core" in finding.detail


def test_timers_that_come_late_are_told() -> None:
    finding = judge_speed(SUBJECT, lag=0.02, frame=10e-6)
    assert finding.status == "failed"
    assert "other programs" in str(finding.remedy)


def test_a_core_that_is_too_slow_for_its_calls_is_told() -> None:
    finding = judge_speed(SUBJECT, lag=0.001, frame=200e-6)
    assert finding.status == "failed"
    assert "lower max_calls" in str(finding.remedy)


@pytest.mark.parametrize("sound", ["audio/x-mulaw;rate=8000", "audio/x-l16;rate=24000"])
async def test_it_is_measured(sound: str) -> None:
    finding = await loop_speed(Subject(Settings(default_format=sound)))  # type: ignore[arg-type]
    assert "from socket to socket" in finding.detail
