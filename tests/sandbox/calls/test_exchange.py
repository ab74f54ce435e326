from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from mediaserver.sandbox.calls.exchange import HEARTBEAT
from mediaserver.sandbox.errors import CallLimitError, UnknownNumberError
from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    CallRecord,
    HeartbeatRecord,
    NumberRecord,
    StreamRecord,
)
from tests.sandbox.conftest import CALLER, OnPlatform


def test_calls_begin_at_the_accounts_pace(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[list[float], list[float]]:
        calls = [await platform.call("<Hangup/>") for _ in range(4)]
        await asyncio.gather(*(call.wait_ended() for call in calls))
        asked = [each for each in platform.customer.asked if each.event == "StartApp"]
        return [call.wait for call in calls], [each.time for each in asked]

    waits, times = on_platform(scenario, options={"calls_per_second": 2})

    assert waits == pytest.approx([0, 0.5, 1, 1.5])
    assert times == pytest.approx([1, 1.5, 2, 2.5])


def test_there_is_room_again_once_a_call_has_ended(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> None:
        call = await platform.call("<Hangup/>")
        with pytest.raises(CallLimitError, match="1 concurrent"):
            await platform.call("<Hangup/>")
        await call.wait_ended()
        await platform.call("<Hangup/>")

    on_platform(scenario, options={"concurrency": 1})


def test_a_number_is_answered_by_its_application(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> list[tuple[str, str]]:
        exchange = platform.exchange
        await exchange.records.remember(
            ApplicationRecord(
                app_id="1",
                app_name="agent",
                answer_url=platform.document("/app", "<Hangup/>"),
                answer_method="GET",
                hangup_url=platform.customer.target("/over"),
            )
        )
        await exchange.records.remember(NumberRecord(number="14155550100", added=0, app_id="1"))
        call = await exchange.dial_in(CALLER)
        await call.wait_ended()
        await exchange.services.webhooks.delivered()
        return [(each.path, each.method) for each in platform.customer.asked]

    assert on_platform(scenario) == [("/app", "GET"), ("/over", "POST")]


def test_a_number_without_an_application_cannot_be_dialled(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> None:
        with pytest.raises(UnknownNumberError, match=re.escape(CALLER)):
            await platform.exchange.dial_in(CALLER)

    on_platform(scenario)


def test_closing_hangs_up_and_tells_the_hangup_url(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[CallRecord, list[StreamRecord], Any]:
        call = await platform.call(platform.stream(keepCallAlive="true"))
        await platform.streams.until(1)
        await platform.exchange.aclose()
        await platform.exchange.services.webhooks.delivered()
        return (
            call.record,
            list(platform.exchange.records.streams.values()),
            platform.customer.asked[-1],
        )

    record, (stream,), told = on_platform(scenario)

    assert (record.hangup_cause_code, record.hangup_source) == (4000, "Plivo")
    assert stream.end_reason == "Call hangup"
    assert told.event == "Hangup"


def test_a_call_that_cannot_be_remembered_is_not_placed(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
        async def full(*_: Any) -> None:
            raise OSError("no space left on device")

        platform.exchange.records.store.save = full
        with pytest.raises(OSError, match="no space"):
            await platform.call("<Hangup/>")
        return dict(platform.exchange.calls), dict(platform.exchange.records.calls)

    assert on_platform(scenario) == ({}, {})


def test_a_heartbeat_is_kept_while_there_are_calls_and_no_longer(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[float, set[Any]]:
        exchange = platform.exchange
        call = await platform.call('<Wait length="9"/>')
        await call.wait_ended()
        ended = exchange.services.now()
        await asyncio.sleep(60)
        (beat,) = await exchange.records.store.all(HeartbeatRecord)
        return beat.time - ended, exchange.services.tasks

    since, tasks = on_platform(scenario)

    assert -HEARTBEAT <= since <= 0
    assert tasks == set()
