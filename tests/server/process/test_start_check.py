import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mediaserver.agents import Echo
from mediaserver.handler import Handler
from mediaserver.routes import Route, Routes
from mediaserver.server.process.start_check import check_start
from mediaserver.server.process.tls import TLSError
from mediaserver.settings import Settings
from mediaserver.testing import run_virtual


def problems(*routes: Route, lifespan: Any = None, **settings: Any) -> list[str]:
    return run_virtual(check_start(Settings(**settings), Routes(*routes, lifespan=lifespan)))


def open_database() -> None:
    raise OSError("no database")


def test_a_start_that_would_succeed_is_undone() -> None:
    notes: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        notes.append("opens")
        yield
        notes.append("closes")

    assert problems(Route(Echo), lifespan=lifespan) == []
    assert notes == ["opens", "closes"]


def test_a_lifespan_that_fails_is_told() -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        open_database()
        yield

    (line,) = problems(Route(Echo), lifespan=lifespan)
    assert line.endswith(": OSError: no database")


def test_a_lifespan_that_hangs_is_told() -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    assert problems(Route(Echo), lifespan=lifespan, lifespan_timeout=3) == [
        "the lifespan of Routes took longer than 3 s"
    ]


def test_a_handler_of_which_no_instance_can_be_made_is_told() -> None:
    class Agent(Handler):
        def __init__(self) -> None:
            raise OSError("no prices")

    (line,) = problems(Route(Agent))
    assert line.endswith(": OSError: no prices")


def test_services_that_are_not_ready_are_told() -> None:
    class Agent(Handler):
        @classmethod
        @contextlib.asynccontextmanager
        async def serving(cls, settings: Any) -> AsyncIterator[dict[str, str]]:
            yield {"chat": "cannot reach it"}

    assert problems(Route(Agent)) == ["chat: cannot reach it"]


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(TLSError):
        problems(Route(Echo), ssl_certfile=tmp_path / "nosuch.pem")
