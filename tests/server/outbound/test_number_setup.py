import json
from typing import Any

import httpx
import pytest
from httpx import Request, Response

from mediaserver.plivo.client import PlivoClient
from mediaserver.server.outbound.number_setup import (
    Change,
    NumberSetupError,
    name_for,
    set_up_number,
)


SERVER = "https://voice.example.com"
NAME = "mediaserver-voice-example-com"
OURS = {
    "answer_url": f"{SERVER}/answer",
    "answer_method": "POST",
    "hangup_url": f"{SERVER}/hangup",
    "hangup_method": "POST",
    "fallback_answer_url": f"{SERVER}/fallback",
    "fallback_method": "POST",
}


class Account:
    """Numbers and applications as Plivo keeps them."""

    def __init__(self, app_id: str | None = None, **applications: Any) -> None:
        self.number = {"number": "14155550100", "voice_enabled": True, "application": None}
        if app_id:
            self.number["application"] = f"/v1/Account/MA1/Application/{app_id}/"
        self.applications = {
            app_id[1:]: {"app_id": app_id[1:], **fields} for app_id, fields in applications.items()
        }
        self.asked: list[Any] = []

    @property
    def changes(self) -> list[str]:
        return [each for each in self.asked if each.startswith("POST")]

    def client(self) -> PlivoClient:
        return PlivoClient("MA1", "token", transport=httpx.MockTransport(self))

    def __call__(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/v1/Account/MA1/")
        self.asked.append(f"{request.method} {path}")
        kind, _, key = path.rstrip("/").partition("/")
        body = json.loads(request.content or "{}")
        if kind == "Number":
            if key != self.number["number"]:
                return httpx.Response(404, json={"error": "not found"})
            if request.method == "POST":
                self.number["application"] = f"/v1/Account/MA1/Application/{body['app_id']}/"
                return httpx.Response(202, json={"message": "changed"})
            return httpx.Response(200, json=self.number)
        if not key and request.method == "POST":
            self.applications["900"] = {"app_id": "900", **body}
            return httpx.Response(201, json={"message": "created", "app_id": "900"})
        if not key:
            return httpx.Response(200, json={"objects": list(self.applications.values())})
        if key not in self.applications:
            return httpx.Response(404, json={"error": "not found"})
        if request.method == "POST":
            self.applications[key] |= body
            return httpx.Response(202, json={"message": "changed"})
        return httpx.Response(200, json=self.applications[key])


async def test_a_number_without_an_application_gets_one_of_its_own() -> None:
    account = Account()
    async with account.client() as client:
        setup = await set_up_number(client, "+1 415 555 0100", SERVER)
    assert account.applications["900"] == {"app_id": "900", "app_name": NAME, **OURS}
    assert str(account.number["application"]).endswith("/900/")
    assert setup.app_id == "900"
    assert setup.answer_url == f"{SERVER}/answer"
    assert setup.changes == (
        Change("application", None, NAME),
        Change("application of +14155550100", None, "900"),
    )


@pytest.mark.parametrize("path", [None, "/sales"])
async def test_a_second_time_changes_nothing(path: str | None) -> None:
    account = Account()
    async with account.client() as client:
        first = await set_up_number(client, "14155550100", SERVER, path=path)
        account.asked.clear()
        second = await set_up_number(client, "14155550100", SERVER, path=path)
    assert first.changes
    assert second.changes == ()
    assert second.app_id == first.app_id
    assert account.changes == []


async def test_an_application_that_others_may_use_is_left_alone() -> None:
    account = Account("7", a7={"app_name": "shop", "answer_url": "https://shop.example.com/"})
    async with account.client() as client:
        setup = await set_up_number(client, "14155550100", SERVER)
    assert account.applications["7"]["answer_url"] == "https://shop.example.com/"
    assert setup.changes[-1] == Change("application of +14155550100", "7", "900")
    assert str(setup.changes[-1]) == "application of +14155550100: 7 -> 900"


async def test_the_application_of_this_server_is_found_by_its_name_and_mended() -> None:
    account = Account(
        "7",
        a7={"app_name": "shop"},
        a8={"app_name": NAME + "-2", **OURS},
        a9={"app_name": NAME, **OURS, "hangup_url": "", "answer_method": "GET"},
    )
    async with account.client() as client:
        setup = await set_up_number(client, "14155550100", SERVER)
    assert account.applications["9"] == {"app_id": "9", "app_name": NAME, **OURS}
    assert setup.changes == (
        Change("hangup_url of application 9", "", f"{SERVER}/hangup"),
        Change("answer_method of application 9", "GET", "POST"),
        Change("application of +14155550100", "7", "9"),
    )


async def test_the_numbers_own_application_is_kept_if_it_leads_here() -> None:
    account = Account("7", a7={"app_name": "by hand", "answer_url": f"{SERVER}/answer"})
    async with account.client() as client:
        setup = await set_up_number(client, "14155550100", f"{SERVER}/")
    assert setup.app_id == "7"
    assert account.changes == ["POST Application/7/"]


async def test_an_application_that_is_gone_is_replaced() -> None:
    account = Account("7")
    async with account.client() as client:
        setup = await set_up_number(client, "14155550100", SERVER)
    assert setup.app_id == "900"


@pytest.mark.parametrize(
    "account", [Account(), Account("9", a9={"app_name": NAME, "answer_url": "https://x/"})]
)
async def test_a_dry_run_says_what_it_would_do_and_does_nothing(account: Account) -> None:
    async with account.client() as client:
        setup = await set_up_number(client, "14155550100", SERVER, dry_run=True)
    assert setup.changes
    assert account.changes == []


@pytest.mark.parametrize(
    ("number", "said"),
    [("14155550199", r"no number \+14155550199"), ("shop", "not 'shop'")],
)
async def test_a_number_that_is_not_there_is_an_error(number: str, said: str) -> None:
    account = Account()
    async with account.client() as client:
        with pytest.raises(NumberSetupError, match=said):
            await set_up_number(client, number, SERVER)
    assert account.changes == []


async def test_a_number_for_messages_only_is_an_error() -> None:
    account = Account()
    account.number["voice_enabled"] = False
    async with account.client() as client:
        with pytest.raises(NumberSetupError, match="not enabled for voice"):
            await set_up_number(client, "14155550100", SERVER)


def test_each_server_and_path_has_a_name_of_its_own() -> None:
    assert name_for("https://voice.example.com:8443/plivo", "/sales") == (
        "mediaserver-voice-example-com-8443-plivo-sales"
    )
