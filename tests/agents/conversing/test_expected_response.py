import pytest

from mediaserver.agents.conversing.expected_response import ExpectedResponse
from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.services import ServiceError


async def test_a_failure_is_raised_in_who_waits() -> None:
    response = ExpectedResponse(Reply(1, since=0.0), relay=None, answers=True)  # type: ignore[arg-type]
    response.fail(ServiceError("model", "gone"))
    with pytest.raises(ServiceError, match="gone"):
        await response.done


async def test_a_failure_that_nobody_waits_for_is_not_reported_as_lost() -> None:
    response = ExpectedResponse(Reply(1, since=0.0), relay=None, answers=True)  # type: ignore[arg-type]
    response.fail(ServiceError("model", "gone"))
    del response


async def test_what_is_done_does_not_fail_any_more() -> None:
    response = ExpectedResponse(Reply(1, since=0.0), relay=None, answers=True)  # type: ignore[arg-type]
    response.done.set_result(None)
    response.fail(ServiceError("model", "gone"))
    await response.done
