from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mediaserver.plivo.signatures import verify_headers
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.people.person import (
    HangUp,
    Person,
    Pickup,
    Press,
    RingingCall,
    Wait,
)
from mediaserver.sandbox.webhooks import Target
from tests.sandbox.conftest import CALLED, CALLER, OnPlatform


def test_an_outbound_call_rings_is_answered_and_ends_with_its_document(
    on_platform: OnPlatform,
) -> None:
    async def scenario(platform: Any) -> Any:
        ring = Target(platform.customer.target("/ring"), "GET")
        hangup = Target(platform.customer.target("/hangup"))
        call = await platform.call('<Wait length="5"/>', ring=ring, hangup=hangup)
        assert call.record.status == "queued"
        await platform.ended(call)
        return platform.customer.asked

    rung, answered, over = on_platform(scenario)

    assert [rung.event, answered.event, over.event] == ["Ring", "StartApp", "Hangup"]
    assert [rung.path, answered.path, over.path] == ["/ring", "/answer", "/hangup"]
    assert [rung.method, answered.method, over.method] == ["GET", "POST", "POST"]
    statuses = [each.params["CallStatus"] for each in (rung, answered, over)]
    assert statuses == ["ringing", "in-progress", "completed"]
    assert [rung.time, answered.time, over.time] == pytest.approx([0, 1, 6])
    assert over.params["HangupCauseCode"] == "4010"
    assert over.params["HangupCauseName"] == "End Of XML Instructions"
    assert over.params["HangupSource"] == "Plivo"
    assert (over.params["Duration"], over.params["BillDuration"]) == ("5", "60")
    assert over.params["TotalCost"] == "0.01000"


def test_the_answer_url_is_told_all_about_the_call(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        headers = {"X-PH-ticket": "17"}
        call = await platform.call("<Hangup/>", headers=headers)
        await platform.ended(call)
        return call.uuid, platform.customer.at("/answer")[0].params

    uuid, params = on_platform(scenario)

    for name in ("CallUUID", "RequestUUID", "ALegUUID", "ALegRequestUUID"):
        assert params[name] == uuid
    assert (params["From"], params["To"]) == ("14155550100", "14155550123")
    assert (params["Direction"], params["X-PH-ticket"]) == ("outbound", "17")
    assert params["ParentAuthID"].startswith("MA")
    assert params["SessionStart"]
    assert params["BillRate"] == "0.01000"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_callbacks_are_signed(on_platform: OnPlatform, method: str) -> None:
    async def scenario(platform: Any) -> Any:
        target = Target(platform.document("/answer", "<Hangup/>") + "?agent=7", method)
        call = await platform.exchange.call(CALLED, caller=CALLER, plan=CallPlan(target))
        await call.wait_ended()
        return platform.customer.asked[0]

    asked = on_platform(scenario)

    form = None
    if method == "POST":
        form = {name: value for name, value in asked.params.items() if name != "agent"}
    verified = verify_headers(asked.headers, method, asked.url, "a token for tests", form)
    assert verified.nonce.isdecimal()


def test_without_a_hangup_url_the_answer_url_is_told(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        return await platform.ended(await platform.call("<Hangup/>"))

    told = on_platform(scenario)

    assert told.path == "/answer"
    assert told.params["HangupSource"] == "Answer XML"
    assert told.params["HangupCauseCode"] == "4000"


@pytest.mark.parametrize(
    ("to", "status", "code", "source"),
    [
        ("+14155550486", "busy", "3010", "Carrier"),
        ("+14155550480", "no-answer", "3000", "Carrier"),
        ("+14155550603", "busy", "3020", "Carrier"),
        ("+14155550404", "failed", "2010", "Carrier"),
    ],
)
def test_some_numbers_are_never_answered(
    on_platform: OnPlatform, to: str, status: str, code: str, source: str
) -> None:
    async def scenario(platform: Any) -> Any:
        return await platform.ended(await platform.call("<Hangup/>", to=to))

    params = on_platform(scenario).params

    told = (params["CallStatus"], params["HangupCauseCode"], params["HangupSource"])
    assert told == (status, code, source)
    assert (params["Duration"], params["TotalCost"]) == ("0", "0.00000")
    assert params["AnswerTime"] == ""


def test_a_person_can_be_busy(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        return await platform.ended(await platform.call("<Hangup/>"))

    told = on_platform(scenario, person=Person(answer="busy"))

    assert told.params["CallStatus"] == "busy"


def test_ringing_ends_at_the_ring_timeout(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        return await platform.ended(await platform.call("<Hangup/>", ring_timeout=20))

    told = on_platform(scenario, person=Person(ring=30))

    assert told.time == pytest.approx(20)
    assert (told.params["CallStatus"], told.params["HangupCauseCode"]) == ("no-answer", "6010")


def test_hangup_on_ring_ends_a_call_that_only_had_to_ring(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        return await platform.ended(await platform.call("<Hangup/>", hangup_on_ring=4))

    told = on_platform(scenario, person=Person(ring=30))

    assert told.time == pytest.approx(4)
    assert (told.params["CallStatus"], told.params["HangupCauseCode"]) == ("cancel", "6000")


class TestMachineDetection:
    NUMBER = "+14155550700"

    def test_hangs_up_on_a_machine(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call(
                '<Wait length="9"/>', to=self.NUMBER, machine_detection="hangup"
            )
            return await platform.ended(call)

        told = on_platform(scenario)

        assert told.params["HangupCauseCode"] == "9100"

    @pytest.mark.parametrize(("to", "machine"), [(NUMBER, "true"), (CALLED, "false")])
    def test_tells_the_answer_url_which_waits_for_it(
        self, on_platform: OnPlatform, to: str, machine: str
    ) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call("<Hangup/>", to=to, machine_detection="true")
            await call.wait_ended()
            return platform.customer.at("/answer")[0]

        asked = on_platform(scenario)

        assert asked.params["Machine"] == machine
        assert asked.time == pytest.approx(3)

    def test_tells_its_own_url_while_the_call_goes_on(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call(
                '<Wait length="9"/>',
                to=self.NUMBER,
                machine_detection="true",
                machine_detection_callback=Target(platform.customer.target("/machine")),
            )
            await platform.ended(call)
            return platform.customer.at("/answer")[0], platform.customer.at("/machine")[0]

        answer, told = on_platform(scenario)

        assert "Machine" not in answer.params
        assert (told.event, told.params["Machine"]) == ("MachineDetection", "true")
        assert answer.time < told.time


class TestInbound:
    def test_is_answered_by_the_first_element_that_does_something(
        self, on_platform: OnPlatform
    ) -> None:
        async def scenario(platform: Any) -> Any:
            elements = ('<Wait length="3"/>', "<Speak>Hello</Speak>", "<Hangup/>")
            call = await platform.dialled_in(*elements, caller_name="Amal")
            await platform.ended(call)
            return call.record, platform.customer.asked

        record, (asked, told) = on_platform(scenario)

        assert record.answered - record.initiated == pytest.approx(3)
        assert (asked.params["Direction"], asked.params["CallStatus"]) == ("inbound", "ringing")
        assert asked.params["CallerName"] == "Amal"
        assert "ALegUUID" not in asked.params
        assert (told.params["CallStatus"], told.params["BillDuration"]) == ("completed", "60")

    @pytest.mark.parametrize(
        ("element", "code"),
        [
            ('<Hangup reason="rejected"/>', "3020"),
            ('<Hangup reason="busy"/>', "3010"),
            ('<Wait length="4"/>', "4010"),
        ],
    )
    def test_can_end_without_having_been_answered(
        self, on_platform: OnPlatform, element: str, code: str
    ) -> None:
        async def scenario(platform: Any) -> Any:
            return await platform.ended(await platform.dialled_in(element))

        params = on_platform(scenario).params

        assert (params["HangupCauseCode"], params["AnswerTime"]) == (code, "")

    def test_rings_no_longer_than_the_ring_timeout(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            return await platform.ended(await platform.dialled_in('<Wait length="9000"/>'))

        told = on_platform(scenario)

        assert told.time == pytest.approx(120)
        assert (told.params["HangupCauseCode"], told.params["AnswerTime"]) == ("6010", "")

    def test_goes_on_past_the_ring_timeout_once_it_is_answered(
        self, on_platform: OnPlatform
    ) -> None:
        async def scenario(platform: Any) -> Any:
            return await platform.ended(
                await platform.dialled_in("<Speak>Hello</Speak>", '<Wait length="150"/>')
            )

        assert on_platform(scenario).params["HangupCauseCode"] == "4010"

    def test_ends_when_the_caller_hangs_up(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            return await platform.ended(await platform.dialled_in('<GetDigits timeout="60"/>'))

        told = on_platform(scenario, person=Person([Press("5"), Wait(1), HangUp()]))

        assert told.params["HangupSource"] == "Caller"


def full_disk(*_: Any) -> None:
    raise OSError("no space left on device")


@pytest.mark.parametrize("after", [0.5, 3])
def test_a_store_that_fails_costs_no_call_its_end(on_platform: OnPlatform, after: float) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.call(platform.stream(keepCallAlive="true"))
        await asyncio.sleep(after)
        platform.exchange.records.store.save = full_disk
        await asyncio.sleep(3)
        call.hang_up_by_api()
        told = await platform.ended(call)
        return told, dict(platform.exchange.calls), call.line.up, len(call.streams)

    told, left, up, streams = on_platform(scenario)

    assert (told.params["HangupCauseCode"], told.params["HangupSource"]) == ("4000", "API Request")
    assert (left, up, streams) == ({}, False, 0)


@pytest.mark.parametrize(
    ("decision", "status", "cause"),
    [
        ("answer", "completed", "End Of XML Instructions"),
        ("reject", "busy", "Rejected"),
        ("no answer", "no-answer", "No Answer"),
        ("busy", "busy", "Busy Line"),
    ],
)
def test_a_person_may_decide_while_the_phone_rings(
    on_platform: OnPlatform, decision: Pickup, status: str, cause: str
) -> None:
    rang: list[RingingCall] = []

    async def pick_up(ringing: RingingCall) -> Pickup:
        rang.append(ringing)
        await asyncio.sleep(7)
        return decision

    async def scenario(platform: Any) -> Any:
        call = await platform.call('<Wait length="1"/>')
        hangup = await call.wait_ended()
        return call, hangup

    call, hangup = on_platform(scenario, person=Person(pick_up=pick_up))

    assert rang == [RingingCall(call.uuid, CALLER, CALLED)]
    assert (call.record.status, hangup.cause.name) == (status, cause)
    seconds = call.record.ended - call.record.initiated
    assert seconds == pytest.approx(8 if decision == "answer" else 7, abs=0.1)


def test_a_person_who_does_not_decide_is_rung_for_so_long_as_asked(
    on_platform: OnPlatform,
) -> None:
    cancelled: list[bool] = []

    async def pick_up(_ringing: RingingCall) -> Pickup:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)
        return "answer"

    async def scenario(platform: Any) -> Any:
        call = await platform.call("<Hangup/>", ring_timeout=20)
        hangup = await call.wait_ended()
        return call.record.ended - call.record.initiated, hangup.cause.name

    seconds, cause = on_platform(scenario, person=Person(pick_up=pick_up))

    assert (seconds, cause) == (pytest.approx(20), "Ring Timeout Reached")
    assert cancelled
