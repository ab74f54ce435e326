"""The OpenAPI description of the sandbox's API, with what the framework cannot know.

Credentials, the account in the path, and errors are dealt with before and beside the endpoints;
bodies are read by hand, because they come as JSON and as forms. So none of them is in an endpoint's
signature, from which the framework describes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from mediaserver.sandbox.api.objects import MAX_PAGE


COMPONENTS: Final = "#/components/schemas/{model}"
"""Where the models of a description are."""

_ERROR: Final = {
    "title": "Error",
    "description": "What there is instead of an answer.",
    "type": "object",
    "properties": {
        "api_id": {"type": "string", "description": "The request, in a word."},
        "error": {"type": "string", "description": "What is wrong, and what is allowed."},
    },
    "required": ["api_id", "error"],
}
_QUERY: Final[Mapping[str, dict[str, Any]]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": MAX_PAGE},
    "offset": {"type": "integer", "minimum": 0, "default": 0},
    "status": {"type": "string", "enum": ["live", "queued"]},
}
_WORDS: Final = {
    "400": "A parameter is missing or cannot be.",
    "401": "The credentials are not the account's.",
    "403": "The account has as many calls as it may (5030).",
    "404": "There is no such thing, or it is over.",
    "429": "Too many requests; `Retry-After` says for how many seconds to wait.",
}


class DescribedApi(FastAPI):
    """Describes itself as a client needs it; all else is FastAPI's."""

    def openapi(self) -> dict[str, Any]:
        """Return the description; it is made once."""
        if self.openapi_schema is None:
            _complete(super().openapi())
        assert self.openapi_schema is not None
        return self.openapi_schema


def error_response(status: str) -> dict[str, Any]:
    """Return how an error is described."""
    schema = {"$ref": COMPONENTS.format(model="Error")}
    return {"description": _WORDS[status], "content": {"application/json": {"schema": schema}}}


def query_parameter(name: str) -> dict[str, Any]:
    """Return how a parameter of a query is described."""
    schema = _QUERY.get(name, {"type": "string"})
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _complete(description: dict[str, Any]) -> None:
    components = description.setdefault("components", {})
    components["securitySchemes"] = {
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "Auth ID and auth token.",
        }
    }
    schemas = components.setdefault("schemas", {})
    # Those of the framework's own errors, which this API has not.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    for path, operations in description["paths"].items():
        for operation in operations.values():
            _complete_operation(path, operation, schemas)


def _complete_operation(path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    parameters = operation.setdefault("parameters", [])
    declared = {each["name"] for each in parameters if each["in"] == "path"}
    names = re.findall(r"{(\w+)}", path)
    parameters[:0] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
        if name not in declared
    ]
    errors = []
    body = operation.get("requestBody", {}).get("content", {})
    if body or any(each["in"] == "query" for each in parameters):
        errors.append("400")
    if path.startswith("/v1/"):
        operation["security"] = [{"basic": []}]
        errors += ["401", "429"]
    if set(names) - {"auth_id"}:
        errors.append("404")
    responses = operation["responses"]
    responses.pop("422", None)
    for status in errors:
        responses.setdefault(status, error_response(status))
    for content in body.values():
        schemas |= content["schema"].pop("$defs", {})
