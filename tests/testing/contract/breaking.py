"""Each check of a contract must fail for a service that breaks it, and for no other reason."""

import asyncio
from typing import Any

import pytest

from mediaserver.testing import VirtualTimeLoop
from mediaserver.testing.contract import ServiceContract


def checks_of(contract: type[ServiceContract[Any]]) -> set[str]:
    """Return the names of the checks that a class defines itself."""
    return {name for name in vars(contract) if name.startswith("test_")}


def in_virtual_time(contract: type[ServiceContract[Any]], **members: Any) -> ServiceContract[Any]:
    """Return a contract of a service that runs in virtual time."""

    def new_loop(self: object) -> asyncio.AbstractEventLoop:
        return VirtualTimeLoop()

    made: ServiceContract[Any] = type("Made", (contract,), {"new_loop": new_loop, **members})()
    return made


def assert_fails(contract: ServiceContract[Any], check: str, text: str) -> None:
    """Fail if a check passes, or fails without a text."""
    with pytest.raises(AssertionError) as caught:
        getattr(contract, check)()
    assert text in str(caught.value)
