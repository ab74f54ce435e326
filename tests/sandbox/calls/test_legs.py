from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.people.person import HangUp, Person, Press, Wait
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.webhooks import Target
from tests.sandbox.conftest import OnPlatform


A, B, C = "+14155550101", "+14155550102", "+14155550103"
TONE = (9_000 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)).astype(np.int16)


def speaks(*after: Any) -> Person:
    """Return somebody who waits a second, makes a sound of one second, and then does more."""

    async def script(handset: Any) -> None:
        await handset.wait(1)
        handset.say(TONE, 8_000)
        await handset.wait_spoken()
        for step in after:
            await step.perform(handset, "")
        await handset.wait_ended()

    return Person(script)


async def run_dial(platform: Any, *targets: str, **attributes: str) -> tuple[SandboxCall, Any]:
    """Place a call to A whose document dials; return it, and what the action was told."""
    action = platform.document("/action", "<Hangup/>")
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    numbers = "".join(f"<Number>{each}</Number>" for each in targets)
    call = await platform.call(f'<Dial action="{action}"{written}>{numbers}</Dial>', to=A)
    await call.wait_ended()
    asked = platform.customer.at("/action")
    return call, asked[0].params if asked else None


def leg(platform: Any, number: str) -> Any:
    return next(
        each for each in platform.exchange.records.calls.values() if each.to_number == number
    )


def test_both_hear_each_other(on_platform: OnPlatform) -> None:
    async def scenario(
        platform: Any,
    ) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        call = await platform.answered(f"<Dial><Number>{B}</Number></Dial>", to=A)
        await asyncio.sleep(1)
        other = call.b_leg
        await call.wait_ended()
        return call.line.handset.heard, other.line.handset.heard

    async def answers_a_second_later(handset: Handset) -> None:
        await handset.wait(3)
        handset.say(TONE, 8_000)
        await handset.wait_spoken()
        handset.hang_up()

    heard_by_a, heard_by_b = on_platform(
        scenario, people={A: speaks(), B: Person(answers_a_second_later, ring=0.5)}
    )

    # B answers half a second after A; what is said takes a tick or two to the other side.
    assert heard_by_a == [pytest.approx((3.5, 4.5), abs=0.1)]
    assert heard_by_b == [pytest.approx((0.5, 1.5), abs=0.1)]


def test_the_action_is_told_how_it_went(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[SandboxCall, dict[str, str], CallRecord]:
        call, told = await run_dial(platform, B)
        return call, told, leg(platform, B)

    call, told, other = on_platform(scenario, people={A: Person(), B: Person([Wait(3), HangUp()])})

    assert told["DialStatus"] == "completed"
    assert told["DialHangupCause"] == "NORMAL_CLEARING"
    assert (told["DialALegUUID"], told["DialBLegUUID"]) == (call.uuid, other.call_uuid)
    assert other.parent_call_uuid == call.uuid
    assert other.hangup_source == "Callee"


@pytest.mark.parametrize(
    ("number", "status"), [("+14155550486", "busy"), ("+14155550480", "no-answer")]
)
def test_nobody_may_answer(on_platform: OnPlatform, number: str, status: str) -> None:
    async def scenario(platform: Any) -> Any:
        return (await run_dial(platform, number, timeout="20"))[1]

    assert on_platform(scenario)["DialStatus"] == status


def test_the_first_to_answer_wins(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[CallRecord, CallRecord]:
        await run_dial(platform, B, C)
        return leg(platform, B), leg(platform, C)

    slow, fast = on_platform(
        scenario, people={A: Person(), B: Person(ring=9), C: Person([Wait(2), HangUp()], ring=2)}
    )

    assert slow.hangup_cause_name == "Lost Race"
    assert fast.answered is not None


def test_a_star_of_the_caller_ends_it(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[CallRecord, CallRecord]:
        call, _ = await run_dial(platform, B, hangupOnStar="true")
        return call.record, leg(platform, B)

    record, other = on_platform(scenario, people={A: Person([Wait(5), Press("*")]), B: Person()})

    assert other.hangup_source == "Caller"
    assert record.ended - record.answered == pytest.approx(5, abs=0.1)


def test_the_end_of_the_caller_ends_it(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[None, CallRecord]:
        _, told = await run_dial(platform, B)
        await asyncio.gather(*(each.wait_ended() for each in platform.exchange.calls.values()))
        return told, leg(platform, B)

    told, other = on_platform(scenario, people={A: Person([Wait(4), HangUp()]), B: Person()})

    assert told is None
    assert other.bill_duration == pytest.approx(3, abs=1)


def test_the_time_limit_ends_it(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        await run_dial(platform, B, timeLimit="7")
        return leg(platform, B)

    other = on_platform(scenario, people={A: Person(), B: Person()})

    assert (other.bill_duration, other.hangup_cause_name) == (7, "Scheduled Hangup")


def test_an_inbound_call_is_answered_when_somebody_is_there(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        answer = platform.document("/answer", f"<Dial><Number>{B}</Number></Dial>")
        call = await platform.exchange.dial_in(C, caller=A, plan=CallPlan(Target(answer)))
        await call.wait_ended()
        return call.record

    record = on_platform(scenario, people={A: Person(), B: Person([Wait(2), HangUp()], ring=3)})

    assert record.answered - record.initiated == pytest.approx(3, abs=0.1)


def test_the_other_leg_can_be_transferred_away(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[float, float]:
        dial = f"<Dial><Number>{B}</Number></Dial>"
        call = await platform.call(dial, '<Wait length="2"/>', to=A)
        await asyncio.sleep(6)
        other = call.b_leg
        other.transfer(Target(platform.document("/elsewhere", '<Wait length="20"/>')))
        await call.wait_ended()
        first = asyncio.get_running_loop().time()
        await other.wait_ended()
        return first, asyncio.get_running_loop().time()

    first, second = on_platform(scenario, people={A: Person(), B: Person()})

    assert (first, second) == (pytest.approx(8, abs=0.1), pytest.approx(26, abs=0.1))


def test_a_callback_is_told_of_the_answer_and_the_end(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> list[str]:
        await run_dial(platform, B, callbackUrl=platform.customer.target("/told"))
        await platform.exchange.services.webhooks.delivered()
        return [each.params["DialAction"] for each in platform.customer.at("/told")]

    people = {A: Person(), B: Person([Wait(1), HangUp()])}

    assert on_platform(scenario, people=people) == ["answer", "hangup"]


def test_a_leg_that_cannot_be_placed_leaves_none_of_the_others_behind(
    on_platform: OnPlatform,
) -> None:
    async def scenario(platform: Any) -> Any:
        place = platform.exchange.add_leg
        placed: list[SandboxCall] = []

        async def add_leg(parent: Any, to: str, **more: Any) -> Any:
            if placed:
                raise OSError("no space left on device")
            placed.append(await place(parent, to, **more))
            return placed[0]

        platform.exchange.add_leg = add_leg
        call, _ = await run_dial(platform, B, C)
        await placed[0].wait_ended()
        return call.record.hangup_cause_code, placed[0].record.hangup_cause_code

    assert on_platform(scenario, people={A: Person(), B: Person(ring=60)}) == (5010, 1000)
