"""Reading what a client asks for: JSON or a form, into the models of Plivo's requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import Request


MAX_BODY = 1024 * 1024
"""Bytes of a request that are read."""

M = TypeVar("M", bound=BaseModel)


class BodyError(ValueError):
    """A request that cannot be understood; it says what is missing or wrong."""


async def read_body(request: Request) -> dict[str, Any]:
    """Return the parameters of a request, from its JSON or form; none if it has no body.

    Raises:
        BodyError: It has a body of another kind.

    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BodyError(f"a request has at most {MAX_BODY} bytes")
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = bytes(body).decode()
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(text, keep_blank_values=True))
        parameters = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BodyError(f"the body is neither JSON nor a form: {error}") from None
    if not isinstance(parameters, dict):
        raise BodyError("the body must be a JSON object")
    return parameters


def parsed(model: type[M], parameters: Mapping[str, Any]) -> M:
    """Return parameters as a model; what the model does not know is passed over, as Plivo does.

    Raises:
        BodyError: A parameter is missing or cannot be.

    """
    kinds = _kinds(model)
    known = {
        name: _plain(value, kinds[name])
        for name, value in parameters.items()
        if name in kinds and value is not None
    }
    try:
        return model.model_validate(known)
    except ValidationError as error:
        raise BodyError("; ".join(_words(each) for each in error.errors())) from None


@cache
def _kinds(model: type[BaseModel]) -> Mapping[str, frozenset[str]]:
    """Return the JSON types of each parameter, by the name that it has on the wire."""
    kinds = {}
    for name, schema in model.model_json_schema(mode="serialization")["properties"].items():
        choices = [schema, *schema.get("anyOf", ())]
        kinds[name] = frozenset(each["type"] for each in choices if "type" in each)
    return kinds


def _plain(value: Any, kinds: frozenset[str]) -> Any:
    """Turn text into the number or truth that it says, as forms have nothing else, or back."""
    if isinstance(value, str):
        word = value.strip()
        if "integer" in kinds and word.removeprefix("-").isdecimal() and len(word) < 20:
            return int(word)
        if "boolean" in kinds and word.lower() in ("true", "false"):
            return word.lower() == "true"
    number = isinstance(value, int) and not isinstance(value, bool)
    if number and "string" in kinds and not kinds & {"integer", "number"}:
        return str(value)
    return value


def _words(error: Any) -> str:
    # `from` is no name that Python allows.
    name = ".".join(str(each) for each in error["loc"]).rstrip("_")
    if error["type"] == "missing":
        return f"{name} parameter is required"
    message = str(error["msg"]).removeprefix("Value error, ")
    if "URL" in message or "url" in message:
        return f"{name}: Must be a valid url ({message})"
    return f"{name}: {message}" if name else message
