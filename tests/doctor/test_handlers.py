from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mediaserver.doctor.handlers import handlers, services
from mediaserver.doctor.subject import Subject
from mediaserver.handler import Handler, HandlerError
from mediaserver.routes import Route, Routes
from mediaserver.settings import Settings


async def test_handlers_are_loaded_for_the_checks_that_follow() -> None:
    subject = Subject(Settings(handler=("mediaserver.agents:Echo", "/p=mediaserver.agents:Parrot")))
    finding = await handlers(subject)
    assert finding == ("ok", "Echo at /stream, Parrot at /p", None)
    assert subject.routes is not None
    assert subject.routes.paths == ["/stream", "/p"]


async def test_a_handler_that_cannot_be_imported_is_told() -> None:
    finding = await handlers(Subject(Settings(handler=("nowhere:Nothing",))))
    assert finding.status == "failed"
    assert "there is no module 'nowhere'" in finding.detail


async def test_a_handler_that_exits_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exiting.py").write_text("import sys\nsys.exit(3)\n")
    finding = await handlers(Subject(Settings(handler=("exiting.py",))))
    assert finding.status == "failed"


async def test_without_handlers_none_is_loaded() -> None:
    subject = Subject(Settings())
    assert (await handlers(subject)).status == "skipped"
    assert (await services(subject)).status == "skipped"


class Prepared(Handler):
    """A handler whose service is as a test says."""

    unready: Mapping[str, str] | Exception | None = None

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str] | None]:
        if isinstance(cls.unready, Exception):
            raise cls.unready
        yield cls.unready


def served(monkeypatch: pytest.MonkeyPatch, unready: Any) -> Subject:
    monkeypatch.setattr(Prepared, "unready", unready)
    return Subject(Settings(), routes=Routes(Route(Prepared)))


async def test_services_that_are_ready_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await services(served(monkeypatch, None))).status == "ok"


async def test_a_service_that_is_not_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = await services(served(monkeypatch, {"chat": "cannot reach https://api.example.com"}))
    assert finding.status == "failed"
    assert finding.detail == "chat: cannot reach https://api.example.com"


async def test_a_key_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = await services(served(monkeypatch, HandlerError("chat: 401: rejects the key")))
    assert finding.status == "failed"
    assert "chat: 401: rejects the key" in finding.detail
    assert finding.remedy == "set the keys, and install the packages"


@pytest.mark.parametrize(
    "unready",
    [
        {"deepgram": "api.deepgram.com refused the key with 401"},
        HandlerError("ears: it has no key: set DEEPGRAM_API_KEY, or pass api_key"),
    ],
)
async def test_the_variable_of_a_known_providers_key_is_named(
    monkeypatch: pytest.MonkeyPatch, unready: Any
) -> None:
    finding = await services(served(monkeypatch, unready))
    assert finding.remedy is not None
    assert finding.remedy.endswith(
        "; DEEPGRAM_API_KEY has the key of `mediaserver check-service deepgram`, which tells more"
    )
