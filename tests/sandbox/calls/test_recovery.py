from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.exchange import HEARTBEAT, Exchange
from mediaserver.sandbox.records.book import RecordBook
from mediaserver.sandbox.records.records import HeartbeatRecord
from tests.sandbox.conftest import OnPlatform


DOWN = 3_600.0
"""Seconds from the kill to the next start."""


async def streaming(platform: Any, **plan: Any) -> SandboxCall:
    """Place a call with a stream, and let it go on for ten seconds."""
    status = platform.customer.target("/status")
    stream = platform.stream(keepCallAlive="true", statusCallbackUrl=status)
    call: SandboxCall = await platform.call(stream, **plan)
    await platform.streams.until(1)
    await asyncio.sleep(10)
    return call


async def restarted(platform: Any) -> Exchange:
    """Open the exchange of the next process, an hour later, with what a kill leaves now."""
    exchange = platform.exchange
    services = replace(
        exchange.services,
        records=RecordBook(exchange.records.store),
        now=lambda: exchange.services.now() + DOWN,
        tasks=set(),
    )
    successor = Exchange(services, exchange.dialplan)
    await exchange.services.webhooks.delivered()
    platform.customer.asked.clear()
    await successor.open()
    await exchange.services.webhooks.delivered()
    return successor


@dataclass(frozen=True)
class Closed:
    """What became of a call and its stream. The records themselves are still the live call's."""

    call: tuple[Any, ...]
    stream: tuple[Any, ...]
    seconds: tuple[float, float]
    billed: tuple[int, int]


async def closed(platform: Any, call: SandboxCall) -> Closed:
    successor = await restarted(platform)
    record: Any = successor.records.calls[call.uuid]
    stream: Any
    (stream,) = successor.records.streams.values()
    return Closed(
        (record.status, record.hangup_cause_code, record.hangup_source),
        (stream.status, stream.end_reason),
        (record.ended - record.answered, stream.ended - stream.started),
        (record.billed_duration, stream.rounded_bill_duration),
    )


def test_calls_and_streams_are_closed(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Closed:
        return await closed(platform, await streaming(platform))

    left = on_platform(scenario)

    assert left.call == ("completed", 5010, "Error")
    assert left.stream == ("failed", "Connection error")


def test_the_time_that_the_sandbox_was_down_is_billed_to_nobody(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Closed:
        return await closed(platform, await streaming(platform))

    left = on_platform(scenario)

    assert all(10 - HEARTBEAT <= seconds <= 10 for seconds in left.seconds)
    assert left.billed == (60, 60)


def test_without_a_heartbeat_a_call_ended_when_it_was_answered(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Closed:
        call = await streaming(platform)
        for beat in await platform.exchange.records.store.all(HeartbeatRecord):
            await platform.exchange.records.store.delete(beat)
        return await closed(platform, call)

    left = on_platform(scenario)

    assert (left.seconds, left.billed) == ((0, 0), (0, 0))


@pytest.mark.parametrize(("scheme", "event"), [("A", "DroppedStream"), ("B", "failed")])
def test_the_streams_end_is_told_before_the_calls(
    on_platform: OnPlatform, scheme: str, event: str
) -> None:
    async def scenario(platform: Any) -> list[Any]:
        # The first callback takes longest, and is still the first to be done.
        platform.customer.replies["/status"] = lambda asked: asyncio.sleep(5, "")
        await streaming(platform)
        await restarted(platform)
        return list(platform.customer.asked)

    status, hangup = on_platform(scenario, options={"callback_scheme": scheme})

    assert (status.path, hangup.path) == ("/status", "/answer")
    assert (status.event, hangup.event) == (event, "Hangup")
    assert status.params["CallUUID"] == hangup.params["CallUUID"]
    assert hangup.time - status.time == pytest.approx(5)


def test_the_hangup_url_is_told_all_that_a_live_call_would_tell_it(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[dict[str, str], dict[str, str]]:
        call = await streaming(platform, headers={"X-PH-ticket": "17"})
        await restarted(platform)
        late = platform.customer.asked[-1].params
        call.hang_up_by_api()
        await call.wait_ended()
        await platform.exchange.services.webhooks.delivered()
        return late, platform.customer.asked[-1].params

    late, live = on_platform(scenario)

    assert set(late) == set(live)
    assert (late["X-PH-ticket"], late["ALegUUID"]) == ("17", live["ALegUUID"])
    assert (late["HangupCauseName"], late["HangupSource"]) == ("Internal Error", "Error")
