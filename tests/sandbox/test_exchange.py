from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from mediaserver.sandbox.exchange import (
    ConcurrencyLimitError,
    Exchange,
    ExchangeOptions,
    UnknownNumberError,
)
from mediaserver.sandbox.live_call import CallPlan
from mediaserver.sandbox.records import ApplicationRecord, NumberRecord
from mediaserver.sandbox.webhooks import Target


CALLED, CALLER = "+14155550123", "+14155550100"


async def place(platform: Any, *elements: str) -> Any:
    answer = Target(platform.document("/answer", *elements))
    return await platform.exchange.call(CALLED, caller=CALLER, plan=CallPlan(answer))


def test_calls_begin_at_the_accounts_pace(on_platform):
    async def scenario(platform):
        calls = [await place(platform, "<Hangup/>") for _ in range(4)]
        await asyncio.gather(*(call.wait_ended() for call in calls))
        asked = [each for each in platform.customer.asked if each.event == "StartApp"]
        return [call.wait for call in calls], [each.time for each in asked]

    waits, times = on_platform(scenario, options={"calls_per_second": 2})

    assert waits == pytest.approx([0, 0.5, 1, 1.5])
    assert times == pytest.approx([1, 1.5, 2, 2.5])


def test_there_is_room_again_once_a_call_has_ended(on_platform):
    async def scenario(platform):
        call = await place(platform, "<Hangup/>")
        with pytest.raises(ConcurrencyLimitError, match="1 concurrent"):
            await place(platform, "<Hangup/>")
        await call.wait_ended()
        await place(platform, "<Hangup/>")

    on_platform(scenario, options={"concurrency": 1})


def test_a_number_is_answered_by_its_application(on_platform):
    async def scenario(platform):
        exchange = platform.exchange
        await exchange.remember(
            ApplicationRecord(
                app_id="1",
                app_name="agent",
                answer_url=platform.document("/app", "<Hangup/>"),
                answer_method="GET",
                hangup_url=platform.customer.target("/over"),
            )
        )
        await exchange.remember(NumberRecord(number="14155550100", added=0, app_id="1"))
        call = await exchange.dial_in(CALLER)
        await call.wait_ended()
        await exchange.webhooks.delivered()
        return [(each.path, each.method) for each in platform.customer.asked]

    assert on_platform(scenario) == [("/app", "GET"), ("/over", "POST")]


def test_a_number_without_an_application_cannot_be_dialled(on_platform):
    async def scenario(platform):
        with pytest.raises(UnknownNumberError, match=re.escape(CALLER)):
            await platform.exchange.dial_in(CALLER)

    on_platform(scenario)


def test_closing_hangs_up_and_tells_the_hangup_url(on_platform):
    async def scenario(platform):
        call = await place(platform, platform.stream(keepCallAlive="true"))
        await platform.streams.until(1)
        await platform.exchange.aclose()
        await platform.exchange.webhooks.delivered()
        return call.record, list(platform.exchange.streams.values()), platform.customer.asked[-1]

    record, (stream,), told = on_platform(scenario)

    assert (record.hangup_cause_code, record.hangup_source) == (4000, "Plivo")
    assert stream.end_reason == "Call hangup"
    assert told.event == "Hangup"


def test_after_a_kill_calls_and_streams_are_closed_and_told(on_platform):
    async def scenario(platform):
        exchange = platform.exchange
        call = await place(platform, platform.stream(keepCallAlive="true"))
        await platform.streams.until(1)
        await asyncio.sleep(10)
        # What a kill leaves is what the store has; the next process begins with that.
        live = {each.call_uuid: each.live for each in exchange.past.values()}
        successor = Exchange(
            exchange.account,
            exchange.store,
            exchange.webhooks,
            dialplan=exchange.dialplan,
            fetch_audio=exchange.fetch_audio,
            speak=exchange.speak,
            clock=exchange.now,
        )
        platform.customer.asked.clear()
        await successor.open()
        await exchange.webhooks.delivered()
        seen = (
            successor.past[call.uuid].hangup_cause_code,
            successor.past[call.uuid].bill_duration,
            [each.end_reason for each in successor.streams.values()],
            [each.bill_duration for each in successor.streams.values()],
            [each.params for each in platform.customer.asked],
        )
        return live[call.uuid], seen

    live, (cause, billed, reasons, streamed, told) = on_platform(scenario)

    assert live
    assert (cause, billed) == (5010, 10)
    assert (reasons, streamed) == (["Connection error"], [10])
    (params,) = told
    assert (params["Event"], params["HangupCauseName"]) == ("Hangup", "Internal Error")
    assert params["HangupSource"] == "Error"


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="more than 0, not 0"):
        ExchangeOptions(calls_per_second=0)
    with pytest.raises(ValueError, match="1 or more, not 0"):
        ExchangeOptions(concurrency=0)
