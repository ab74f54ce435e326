from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mediaserver.sandbox.api.app import create_api


ACCOUNT = "/v1/Account/{auth_id}"


@pytest.fixture
def described(on_platform: Callable[..., Any]) -> dict[str, Any]:
    async def scenario(platform: Any) -> dict[str, Any]:
        return create_api(platform.exchange).openapi()

    description: dict[str, Any] = on_platform(scenario)
    return description


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for operation in item.values():
            yield path, operation


def named(operation: dict[str, Any], place: str) -> list[str]:
    return [each["name"] for each in operation["parameters"] if each["in"] == place]


def test_every_part_of_a_path_is_declared_once(described):
    for path, operation in operations(described):
        assert sorted(named(operation, "path")) == sorted(re.findall(r"{(\w+)}", path))
        assert all(each["required"] for each in operation["parameters"] if each["in"] == "path")


def test_everything_below_v1_wants_credentials(described):
    assert described["components"]["securitySchemes"]["basic"]["scheme"] == "basic"
    for path, operation in operations(described):
        assert ("security" in operation) == path.startswith("/v1/")


def test_errors_are_those_that_there_are(described):
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


def test_every_reference_leads_somewhere(described):
    schemas = described["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(described)))

    assert references == {f"#/components/schemas/{name}" for name in schemas} & references
    assert "$defs" not in json.dumps(described)


def test_lists_say_how_they_are_filtered_and_paged(described):
    calls = named(described["paths"][ACCOUNT + "/Call/"]["get"], "query")
    streams = named(described["paths"][ACCOUNT + "/Call/{call_uuid}/Stream/"]["get"], "query")

    assert {"status", "limit", "offset", "from_number", "end_time__gte"} <= set(calls)
    assert streams == ["limit", "offset"]


def test_no_two_operations_share_an_id(described):
    ids = [operation["operationId"] for _, operation in operations(described)]

    assert len(set(ids)) == len(ids)


def test_every_answer_with_a_body_says_what_is_in_it(described):
    for _, operation in operations(described):
        for status, response in operation["responses"].items():
            assert status == "204" or any(
                kind == "audio/wav" or content["schema"]
                for kind, content in response["content"].items()
            )
