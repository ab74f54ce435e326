import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.http_service import HttpService
from mediaserver.testing import in_virtual_time


class Client:
    service = "mine"
    provider = "localhost"

    def __init__(self) -> None:
        self.done: list[str] = []

    async def prewarm(self) -> None:
        self.done.append("prewarm")

    async def close(self) -> None:
        self.done.append("close")


CLIENT = Client()


class Slow(HttpService[Client]):
    _own: ClassVar = frozenset({"model"})

    def answer(self) -> AsyncIterator[str]:
        return self._in_time(self._pieces())

    async def _pieces(self) -> AsyncIterator[str]:
        for seconds in (7, 3, 5):
            await asyncio.sleep(seconds)
            yield f"after {seconds} s"


def slow(extra: Any = None, first: float = 8, stall: float = 4) -> Slow:
    return Slow(CLIENT, "any", extra, first, stall)


@in_virtual_time
async def test_an_answer_has_other_limits_for_its_beginning_and_for_its_pauses() -> None:
    answer = slow().answer()
    assert [await anext(answer), await anext(answer)] == ["after 7 s", "after 3 s"]
    with pytest.raises(ServiceError, match=r"mine: .* did not go on within 4 s"):
        await anext(answer)
    with pytest.raises(ServiceError, match="no answer within 6 s"):
        await anext(slow(first=6).answer())


@in_virtual_time
async def test_its_connections_are_those_of_its_client() -> None:
    service = slow()
    await service.prewarm()
    await service.close()
    assert CLIENT.done == ["prewarm", "close"]
    assert (service.model, service.provider) == ("any", "localhost")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"extra": {"model": "b", "top_p": 1}}, r"fields that Slow sets itself: \['model'\]"),
        ({"first": 0}, "first_timeout must be a number of seconds above 0"),
        ({"stall": True}, "stall_timeout must be a number of seconds above 0"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_at_once(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        slow(**settings)
