from typing import Any

import pytest

from mediaserver.agents.conversing.expected_response import ExpectedResponse
from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.services import ServiceError


def response_of(reply: Reply) -> ExpectedResponse:
    step = reply.begin_step("model", "realtime", 0.0)
    relay: Any = None
    return ExpectedResponse(reply, relay, step, answers=True)


async def test_a_failure_is_raised_in_who_waits() -> None:
    response = response_of(Reply(1, since=0.0))
    response.fail(ServiceError("model", "gone"))
    assert response.step.error == "gone"
    with pytest.raises(ServiceError, match="gone"):
        await response.done


async def test_a_failure_that_nobody_waits_for_is_not_reported_as_lost() -> None:
    response = response_of(Reply(1, since=0.0))
    response.fail(ServiceError("model", "gone"))
    del response


async def test_what_is_done_does_not_fail_any_more() -> None:
    response = response_of(Reply(1, since=0.0))
    response.done.set_result(None)
    response.fail(ServiceError("model", "gone"))
    await response.done
