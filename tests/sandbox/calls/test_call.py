from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.calls.call import MAX_TRANSFERS
from mediaserver.sandbox.calls.hangup import NORMAL, HangupSource
from mediaserver.sandbox.errors import NotInProgressError, TransferLimitError
from mediaserver.sandbox.people.person import HangUp, Person, Wait
from mediaserver.sandbox.webhooks import Target
from tests.sandbox.conftest import OnPlatform


def test_the_time_limit_ends_a_call(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.call('<Wait length="100"/>', time_limit=30)
        return await platform.ended(call)

    told = on_platform(scenario)

    assert (told.params["Duration"], told.params["HangupCauseCode"]) == ("30", "6000")


def test_a_person_who_hangs_up_ends_the_call(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        return await platform.ended(await platform.call('<Wait length="100"/>'))

    told = on_platform(scenario, person=Person([Wait(3), HangUp()]))

    assert (told.params["Duration"], told.params["HangupSource"]) == ("3", "Callee")
    assert told.params["HangupCauseCode"] == "4000"


@pytest.mark.parametrize(
    ("after", "status", "code"), [(0.5, "cancel", "1000"), (2.0, "completed", "4000")]
)
def test_the_api_cancels_a_call_that_rings_and_hangs_up_one_that_goes_on(
    on_platform: OnPlatform, after: float, status: str, code: str
) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.call('<Wait length="100"/>')
        await asyncio.sleep(after)
        call.hang_up_by_api()
        return await platform.ended(call)

    params = on_platform(scenario).params

    told = (params["CallStatus"], params["HangupCauseCode"], params["HangupSource"])
    assert told == (status, code, "API Request")


def test_the_first_to_hang_up_is_the_one_who_did(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.call('<Wait length="100"/>')
        call.hang_up_by_api()
        call.hang_up(NORMAL, HangupSource.CALLER)
        return await platform.ended(call)

    assert on_platform(scenario).params["HangupSource"] == "API Request"


def test_digits_are_sent_once_somebody_answered(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        call = await platform.call('<Wait length="5"/>', send_digits="1w2W3@1000")
        await call.wait_ended()
        return call.line.handset.digits_heard

    heard = on_platform(scenario)

    assert [(key.digit, key.time) for key in heard] == [
        ("1", pytest.approx(0)),
        ("2", pytest.approx(0.5)),
        ("3", pytest.approx(1.5)),
    ]


class TestTransfer:
    def test_runs_another_document_at_once(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call('<Wait length="100"/>')
            await asyncio.sleep(3)
            call.transfer(Target(platform.document("/other", '<Wait length="2"/>'), "GET"))
            told = await platform.ended(call)
            return platform.customer.at("/other")[0], told

        other, told = on_platform(scenario)

        assert (other.method, other.time) == ("GET", pytest.approx(3))
        assert told.time == pytest.approx(5)

    def test_waits_for_the_stream_that_keeps_the_call_alive(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call(platform.stream(keepCallAlive="true"))
            await platform.streams.until(1)
            await asyncio.sleep(3)
            call.transfer(Target(platform.document("/other", '<Wait length="2"/>')))
            await asyncio.sleep(4)
            before = list(platform.customer.at("/other"))
            platform.streams.connections[0].close()
            await platform.ended(call)
            return before, platform.customer.at("/other")

        before, after = on_platform(scenario)

        assert before == []
        assert len(after) == 1

    def test_that_waits_says_so_at_once(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call(platform.stream(keepCallAlive="true"))
            await platform.streams.until(1)
            with capture_logs() as lines:
                call.transfer(Target(platform.document("/other", "<Hangup/>")))
            return lines

        (line,) = on_platform(scenario)

        assert line["event"] == "transfer waits"
        assert "when the stream with keepCallAlive ends" in line["what"]

    def test_ends_the_stream_where_the_options_say_so(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call(platform.stream(keepCallAlive="true"))
            await platform.streams.until(1)
            await asyncio.sleep(3)
            at = asyncio.get_running_loop().time()
            call.transfer(Target(platform.document("/other", '<Wait length="2"/>')))
            await platform.ended(call)
            (stream,) = platform.exchange.records.streams.values()
            return at, platform.customer.at("/other"), stream.end_reason

        at, (other,), reason = on_platform(scenario, options={"transfers": "at-once"})

        assert (other.time, reason) == (pytest.approx(at, abs=0.1), "API request")

    def test_to_nowhere_ends_the_call(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call('<Wait length="100"/>')
            await asyncio.sleep(3)
            platform.customer.replies["/other"] = 404
            call.transfer(Target(platform.customer.target("/other")))
            return await platform.ended(call)

        assert on_platform(scenario).params["HangupCauseCode"] == "7013"

    def test_is_refused_before_the_answer_and_after_the_end(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call("<Hangup/>")
            target = Target(platform.customer.target("/other"))
            with pytest.raises(NotInProgressError, match="not in progress"):
                call.transfer(target)
            await call.wait_ended()
            with pytest.raises(NotInProgressError, match="not in progress"):
                call.transfer(target)

        on_platform(scenario)

    def test_is_refused_when_it_was_done_too_often(self, on_platform: OnPlatform) -> None:
        async def scenario(platform: Any) -> Any:
            call = await platform.call('<Wait length="100"/>')
            await asyncio.sleep(3)
            target = Target(platform.document("/other", '<Wait length="100"/>'))
            for _ in range(MAX_TRANSFERS):
                call.transfer(target)
                await asyncio.sleep(0.1)
            with pytest.raises(TransferLimitError, match="70 times"):
                call.transfer(target)
            return len(platform.customer.at("/other"))

        assert on_platform(scenario) == MAX_TRANSFERS


def test_a_person_whose_script_fails_leaves_and_the_call_ends(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> Any:
        async def trip(handset: Handset) -> None:
            raise RuntimeError("tripped over the cable")

        call = await platform.call('<Wait length="9"/>')
        call.person = Person(trip)
        return await platform.ended(call)

    assert on_platform(scenario).params["HangupSource"] == "Callee"
