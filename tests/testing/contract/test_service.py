import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import SkipTest

import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError, WordMark
from mediaserver.testing.contract import ServiceContract
from mediaserver.testing.contract.service import assert_marks
from tests.testing.contract.breaking import assert_fails, checks_of, in_virtual_time


KEY = ServiceContract.key


class Service:
    """A service without an ability, which breaks the contract as it is told."""

    def __init__(self, fault: str = "", *, refused: bool = False) -> None:
        self.fault = fault
        self.refused = refused
        self.closed = False

    async def check(self) -> None:
        if self.fault == "check":
            raise MisconfiguredServiceError("mine", "it has no key")

    async def work(self) -> None:
        if self.fault == "task":
            left.append(asyncio.create_task(asyncio.sleep(3600), name="forgotten"))
        if self.fault == "socket":
            socket.socket()
        if not self.refused or self.fault == "silent":
            return
        if self.fault == "raw":
            raise ConnectionRefusedError("nobody listens")
        raise ServiceError("mine", f"refused: {KEY if self.fault == 'key' else '***'}")

    async def close(self) -> None:
        assert not (self.closed and self.fault == "close"), "closed twice"
        self.closed = True


left: list[Any] = []


def contract(fault: str = "") -> ServiceContract[Any]:
    @asynccontextmanager
    async def opened(self: object) -> AsyncIterator[Service]:
        yield Service(fault)

    @asynccontextmanager
    async def failing(self: object) -> AsyncIterator[Service]:
        yield Service(fault, refused=True)

    async def use(self: object, service: Service) -> None:
        await service.work()

    return in_virtual_time(ServiceContract, opened=opened, failing=failing, use=use)


BROKEN = [
    ("test_close_may_be_called_twice", "close", "closed twice"),
    ("test_an_error_is_a_service_error", "raw", "not a ConnectionRefusedError: nobody"),
    ("test_an_error_is_a_service_error", "silent", "was refused, and raised no error"),
    ("test_an_error_does_not_show_the_key", "key", "shows the key"),
    ("test_nothing_is_left_after_close", "task", "tasks are left: 'forgotten' waits at"),
    ("test_nothing_is_left_after_close", "socket", "connections are left: unclosed <socket"),
]


@pytest.mark.parametrize("check", sorted(checks_of(ServiceContract)))
def test_a_service_that_keeps_the_contract_passes(check: str) -> None:
    getattr(contract(), check)()


@pytest.mark.parametrize(("check", "fault", "text"), BROKEN)
def test_a_service_that_breaks_the_contract_fails(check: str, fault: str, text: str) -> None:
    assert_fails(contract(fault), check, text)


def test_a_check_that_finds_something_fails() -> None:
    with pytest.raises(MisconfiguredServiceError, match="no key"):
        contract("check").test_check_finds_nothing_wrong()


def test_every_check_is_shown_to_fail() -> None:
    shown = {check for check, _, _ in BROKEN} | {"test_check_finds_nothing_wrong"}
    assert shown == checks_of(ServiceContract)


def test_a_test_that_does_not_make_the_service_is_told_so() -> None:
    with pytest.raises(NotImplementedError, match=r"override opened\(\)"):
        in_virtual_time(ServiceContract).test_check_finds_nothing_wrong()


def test_errors_are_skipped_without_a_service_that_fails() -> None:
    with pytest.raises(SkipTest, match=r"override failing\(\)"):
        in_virtual_time(ServiceContract).test_an_error_is_a_service_error()


def test_a_check_that_hangs_fails() -> None:
    async def hang(service: Any) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(AssertionError, match="not over after 20 s"):
        contract().run(hang)


def test_a_timeout_of_the_service_is_not_that_of_the_check() -> None:
    async def late(service: Any) -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        contract().run(late)


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        ([WordMark(9, 0.1)], "outside of a text of 4 characters"),
        ([WordMark(4, 9.0)], "outside of 1.000 s of audio"),
        ([WordMark(4, 0.1), WordMark(2, 0.2)], "goes back in the text"),
        ([WordMark(2, 0.2), WordMark(4, 0.1)], "goes back in time"),
    ],
)
def test_a_mark_out_of_its_place_fails(marks: list[WordMark], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        assert_marks(marks, "text", 1.0, 0.25)
