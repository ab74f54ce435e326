from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from mediaserver.sandbox.api.app import create_api
from mediaserver.sandbox.calls.services import ExchangeOptions
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.testing import run_virtual


FORM = "application/x-www-form-urlencoded"
ACCOUNT = "/v1/Account/{auth_id}"


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    exchange = ExchangeOptions(recordings=tmp_path_factory.mktemp("recordings"))

    async def describe() -> dict[str, Any]:
        async with Sandbox(SandboxOptions(exchange=exchange)) as sandbox:
            return create_api(sandbox.exchange).openapi()

    return run_virtual(describe())


MODELS = {
    "POST /Call/": ("CallRequest", "CallCreated"),
    "GET /Call/": (None, "CallList", "LiveCallList"),
    "GET /Call/{call_uuid}/": (None, "Call", "LiveCall"),
    "POST /Call/{call_uuid}/": ("TransferRequest", "Transferred"),
    "DELETE /Call/{call_uuid}/": (None,),
    "DELETE /Request/{request_uuid}/": (None,),
    "POST /Call/{call_uuid}/Speak/": ("SpeakRequest", "Accepted"),
    "DELETE /Call/{call_uuid}/Speak/": (None,),
    "POST /Call/{call_uuid}/Play/": ("PlayRequest", "Accepted"),
    "DELETE /Call/{call_uuid}/Play/": (None,),
    "POST /Call/{call_uuid}/DTMF/": ("DigitsRequest", "Accepted"),
    "POST /Call/{call_uuid}/Record/": ("RecordRequest", "RecordingStarted"),
    "DELETE /Call/{call_uuid}/Record/": (None,),
    "POST /Call/{call_uuid}/Stream/": ("StreamRequest", "StreamCreated"),
    "GET /Call/{call_uuid}/Stream/": (None, "StreamList"),
    "DELETE /Call/{call_uuid}/Stream/": (None,),
    "GET /Call/{call_uuid}/Stream/{stream_id}/": (None, "StreamObject"),
    "DELETE /Call/{call_uuid}/Stream/{stream_id}/": (None,),
    "GET /Application/": (None, "ApplicationList"),
    "POST /Application/": ("ApplicationRequest", "ApplicationCreated"),
    "GET /Application/{app_id}/": (None, "Application"),
    "POST /Application/{app_id}/": ("ApplicationRequest", "Accepted"),
    "DELETE /Application/{app_id}/": (None,),
    "GET /Number/": (None, "NumberList"),
    "GET /Number/{number}/": (None, "Number"),
    "POST /Number/{number}/": ("NumberRequest", "Accepted"),
    "POST /v1/sandbox/Call/": ("DialInRequest", "DialledIn"),
    "GET /recordings/{recording_id}.wav": (None,),
}
"""The model of each operation's body, and those of its responses."""


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for operation in item.values():
            yield path, operation


def named(operation: dict[str, Any], place: str) -> list[str]:
    return [each["name"] for each in operation.get("parameters", ()) if each["in"] == place]


def model_names(described: Any) -> list[str]:
    return re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described))


def test_the_document_is_valid(described: dict[str, Any]) -> None:
    OpenAPI.model_validate(described)


def test_every_operation_names_its_models(described: dict[str, Any]) -> None:
    found = {}
    for path, item in described["paths"].items():
        for method, operation in item.items():
            bodies = operation.get("requestBody", {}).get("content", {})
            assert set(bodies) in (set(), {"application/json", FORM, "multipart/form-data"})
            body: str | None
            (body,) = set(model_names(bodies)) or [None]
            done = [each for status, each in operation["responses"].items() if status[0] == "2"]
            name = f"{method.upper()} {path.removeprefix(ACCOUNT)}"
            found[name] = (body, *model_names(done))

    assert found == MODELS


def test_every_part_of_a_path_is_declared_once(described: dict[str, Any]) -> None:
    for path, operation in operations(described):
        assert sorted(named(operation, "path")) == sorted(re.findall(r"{(\w+)}", path))
        assert all(
            each["required"] for each in operation.get("parameters", ()) if each["in"] == "path"
        )


def test_everything_below_v1_wants_credentials(described: dict[str, Any]) -> None:
    assert described["components"]["securitySchemes"]["basic"]["scheme"] == "basic"
    for path, operation in operations(described):
        assert ("security" in operation) == path.startswith("/v1/")


def test_errors_are_those_that_there_are(described: dict[str, Any]) -> None:
    for path, operation in operations(described):
        responses = operation["responses"]
        assert "422" not in responses
        if path.startswith("/v1/"):
            assert {"401", "429"} <= set(responses)
        if "requestBody" in operation:
            assert "400" in responses
        if path.endswith("_uuid}/"):
            assert "404" in responses
        for status, response in responses.items():
            if status.startswith("4"):
                schema = response["content"]["application/json"]["schema"]
                assert schema["$ref"] == "#/components/schemas/Error"


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(described)))

    assert references == {f"#/components/schemas/{name}" for name in schemas} & references
    assert "$defs" not in json.dumps(described)


def test_lists_say_how_they_are_filtered_and_paged(described: Any) -> None:
    calls = named(described["paths"][ACCOUNT + "/Call/"]["get"], "query")
    streams = named(described["paths"][ACCOUNT + "/Call/{call_uuid}/Stream/"]["get"], "query")

    assert {"status", "limit", "offset", "from_number", "end_time__gte"} <= set(calls)
    assert streams == ["limit", "offset"]


def test_no_two_operations_share_an_id(described: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(described)]

    assert len(set(ids)) == len(ids)


def test_every_answer_with_a_body_says_what_is_in_it(described: dict[str, Any]) -> None:
    for _, operation in operations(described):
        for status, response in operation["responses"].items():
            assert status == "204" or any(
                kind == "audio/wav" or content["schema"]
                for kind, content in response["content"].items()
            )
