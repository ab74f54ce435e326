from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import AsyncClient

from audiocodecs import write_wav
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person
from tests.sandbox.api.conftest import PHONES, Ask, OnApi, refusal


@pytest.mark.parametrize(
    "person", ["/etc/passwd.yaml", "play /etc/motd.wav; hang up", "../x.wav", "tone.wav"]
)
def test_a_request_names_no_files(on_api: OnApi, person: str) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        body = {"to": "+14155550100", "person": person, "answer_url": "http://h.example/"}
        return await api.post(PHONES, json=body)

    assert "write steps" in refusal(on_api(scenario), 400)


@pytest.mark.parametrize("person", ["tone.wav", "play tone.wav; hang up"])
def test_a_request_names_files_of_one_folder(on_api: OnApi, tmp_path: Path, person: str) -> None:
    write_wav(tmp_path / "tone.wav", np.zeros(800, np.int16), 8_000)

    async def scenario(platform: Any, api: AsyncClient) -> Any:
        body = {"to": "+14155550100", "person": person, "answer_url": "http://h.example/"}
        outside = body | {"person": f"../{person}"}
        return await api.post(PHONES, json=body), await api.post(PHONES, json=outside)

    made, refused = on_api(scenario, options={"files": tmp_path})

    assert made.status_code == 201
    assert refused.status_code == 400


def test_a_number_is_dialled_from_a_phone(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        body = {
            "to": "+14155550100",
            "from": "+14155550177",
            "person": "wait 2; hang up",
            "answer_url": platform.document("/answer", '<GetDigits timeout="60"/>'),
        }
        made = await api.post(PHONES, json=body)
        call = platform.exchange.calls[made.json()["call_uuid"]]
        await call.wait_ended()
        return made.status_code, call.record

    status, record = on_api(scenario)

    assert (status, record.direction, record.from_number) == (201, "inbound", "+14155550177")
    assert (record.hangup_source, record.bill_duration) == ("Caller", 2)


def test_the_application_of_a_number_answers(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        url = platform.document("/app", "<Hangup/>")
        made = await api.post("Application/", json={"app_name": "a", "answer_url": url})
        await api.post("Number/14155550100/", json={"app_id": made.json()["app_id"]})
        platform.exchange.dialplan = Dialplan(Person)
        called = await api.post(PHONES, json={"to": "+1 415 555 0100"})
        await platform.exchange.calls[called.json()["call_uuid"]].wait_ended()
        return platform.customer.at("/app")[0].params["Direction"]

    assert on_api(scenario) == "inbound"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"to": "+14155550100"}, 404, "no application"),
        ({"to": "+14155550100", "person": "dance"}, 400, "dance"),
        ({}, 400, "to parameter is required"),
    ],
)
def test_what_cannot_be_dialled_is_refused(
    ask: Ask, body: dict[str, str], status: int, says: str
) -> None:
    assert says in refusal(ask("POST", PHONES, json=body), status)
