from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mediaserver.sandbox.calls.hangup import NORMAL, Hangup, HangupSource
from mediaserver.sandbox.calls.services import ExchangeOptions, loop_clock
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.testing import run_virtual
from tests.sandbox.conftest import OnPlatform, call_record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calls_per_second": 0}, "more than 0, not 0"),
        ({"calls_per_second": float("nan")}, "more than 0, not nan"),
        ({"concurrency": 0}, "1 or more, not 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExchangeOptions(**options)


def test_the_clock_goes_on_with_the_event_loop() -> None:
    async def scenario() -> float:
        now = loop_clock()
        began = now()
        await asyncio.sleep(3_600)
        return now() - began

    assert run_virtual(scenario()) == pytest.approx(3_600)


def test_closing_cancels_the_tasks(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[bool, int]:
        services = platform.exchange.services
        task = services.start_task(asyncio.sleep(3_600), "a long sleep")
        await services.aclose()
        return task.cancelled(), len(services.tasks)

    assert on_platform(scenario) == (True, 0)


@pytest.mark.parametrize(("at", "seconds"), [(1_700_000_061.0, 61), (None, 5)])
def test_a_call_is_closed_now_or_at_a_time(
    on_platform: OnPlatform, at: float | None, seconds: int
) -> None:
    async def scenario(platform: Any) -> CallRecord:
        services = platform.exchange.services
        record = call_record(initiated=services.now(), answered=services.now())
        await asyncio.sleep(5)
        services.close(record, Hangup(NORMAL, HangupSource.CALLEE), at=at)
        return record

    record = on_platform(scenario)

    assert (record.status, record.bill_duration) == ("completed", seconds)


def test_a_recording_has_a_file_and_a_url_of_one_name(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[str, str]:
        services = platform.exchange.services
        services.public_url = "https://sandbox.example"
        return services.recording_path("r1").name, services.recording_url("r1")

    assert on_platform(scenario) == ("r1.wav", "https://sandbox.example/recordings/r1.wav")
