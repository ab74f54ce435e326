from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from mediaserver.plivo import models
from tests.sandbox.api.conftest import Ask, OnApi, refusal


def test_a_number_is_pointed_at_an_application(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        url = platform.document("/app", "<Hangup/>")
        made = await api.post("Application/", json={"app_name": "agent", "answer_url": url})
        app_id = made.json()["app_id"]
        before = (await api.get("Number/14155550100/")).json()
        changed = await api.post("Number/14155550100/", json={"app_id": app_id})
        after = (await api.get("Number/14155550100/")).json()
        listed = (await api.get("Number/")).json()
        return made, changed, models.Number(**before), models.Number(**after), listed

    made, changed, before, after, listed = on_api(scenario)

    assert (made.status_code, made.json()["message"]) == (201, "created")
    assert (changed.status_code, changed.json()["message"]) == (202, "changed")
    assert (before.app_id, after.app_id) == (None, made.json()["app_id"])
    assert [each["number"] for each in listed["objects"]] == ["14155550100"]


def test_a_change_of_an_application_leaves_the_rest_alone(on_api: OnApi) -> None:
    async def scenario(_: Any, api: AsyncClient) -> Any:
        first = {
            "app_name": "agent",
            "answer_url": "http://h.example/a",
            "hangup_url": "http://h.example/h",
        }
        app_id = (await api.post("Application/", json=first)).json()["app_id"]
        change = {"answer_url": "http://h.example/b", "answer_method": "GET"}
        await api.post(f"Application/{app_id}/", json=change)
        listed = (await api.get("Application/")).json()["objects"]
        return (await api.get(f"Application/{app_id}/")).json(), listed

    shown, listed = on_api(scenario)

    assert (shown["answer_url"], shown["answer_method"]) == ("http://h.example/b", "GET")
    assert shown["hangup_url"] == "http://h.example/h"
    assert [each["app_name"] for each in listed] == ["agent"]


def test_an_application_that_is_deleted_leaves_its_numbers(on_api: OnApi) -> None:
    async def scenario(_: Any, api: AsyncClient) -> Any:
        made = await api.post("Application/", json={"app_name": "agent"})
        app_id = made.json()["app_id"]
        await api.post("Number/14155550100/", json={"app_id": app_id})
        deleted = await api.delete(f"Application/{app_id}/")
        number = (await api.get("Number/14155550100/")).json()
        return deleted, number["application"], await api.get(f"Application/{app_id}/")

    deleted, application, gone = on_api(scenario)

    assert (deleted.status_code, application) == (204, None)
    assert "not found" in refusal(gone, 404)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Application/", {}, 400),
        ("Application/none/", {"answer_url": "http://h.example/"}, 404),
        ("Number/14155550100/", {"app_id": "none"}, 400),
        ("Number/1/", {"alias": "x"}, 404),
    ],
)
def test_impossible_changes_are_refused(
    ask: Ask, path: str, body: dict[str, str], status: int
) -> None:
    assert refusal(ask("POST", path, json=body), status)


def test_a_name_is_taken_once(on_api: OnApi) -> None:
    async def scenario(_: Any, api: AsyncClient) -> Any:
        return [await api.post("Application/", json={"app_name": "agent"}) for _ in range(2)]

    assert "already taken" in refusal(on_api(scenario)[1], 400)
