import asyncio
from typing import NoReturn

from mediaserver.doctor.examination import CHECKS, Diagnosis, DoctorCheck, diagnose
from mediaserver.doctor.findings import Finding, failed, passed
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings
from mediaserver.testing import run_virtual


async def well(subject: Subject) -> Finding:
    return passed("well")


async def wrong(subject: Subject) -> Finding:
    return failed("wrong", "mend it")


async def silent(subject: Subject) -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def broken(subject: Subject) -> Finding:
    raise KeyError("x")


def made(*checks: DoctorCheck) -> list[Diagnosis]:
    async def collect() -> list[Diagnosis]:
        return [each async for each in diagnose(Subject(Settings()), checks)]

    return run_virtual(collect())


def test_checks_are_made_in_order() -> None:
    found = made(DoctorCheck("one", well), DoctorCheck("two", wrong))
    assert [(each.name, each.finding.status) for each in found] == [
        ("one", "ok"),
        ("two", "failed"),
    ]


def test_what_rests_on_a_failure_is_skipped_with_the_reason() -> None:
    found = made(DoctorCheck("one", wrong), DoctorCheck("two", broken, ("one",)))
    assert found[1].finding == ("skipped", "it needs what failed above: one", None)


def test_what_rests_on_a_success_is_made() -> None:
    found = made(DoctorCheck("one", well), DoctorCheck("two", well, ("one",)))
    assert found[1].finding.status == "ok"


def test_a_check_that_does_not_end_has_failed() -> None:
    (found,) = made(DoctorCheck("one", silent, within=7.0))
    assert found.finding.status == "failed"
    assert found.finding.detail == "no result within 7 s"


def test_a_check_that_breaks_harms_no_other() -> None:
    first, second = made(DoctorCheck("one", broken), DoctorCheck("two", well))
    assert first.finding.status == "failed"
    assert "KeyError" in first.finding.detail
    assert second.finding.status == "ok"


def test_each_check_rests_on_earlier_ones() -> None:
    known: set[str] = set()
    for check in CHECKS:
        assert set(check.after) <= known
        assert check.name not in known
        assert 0 < check.within <= 30
        known.add(check.name)
