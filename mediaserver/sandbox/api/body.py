"""Reads parameters as leniently as Plivo does: from JSON or a form, with numbers as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from functools import cache, partial
from typing import Annotated, Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function
from starlette.requests import Request

from mediaserver.plivo.models import problem


MAX_BODY: Final = 1024 * 1024
"""Largest request body in bytes."""

M = TypeVar("M", bound=BaseModel)


class BodyError(ValueError):
    """A request whose body is too large, or neither JSON nor a form."""


async def as_json(request: Request) -> Request:
    """Return a request with the parameters of another as its JSON body; `{}` for an empty body.

    Raises:
        BodyError: The body is too large, or neither a JSON object nor a form.

    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BodyError(f"a request has at most {MAX_BODY} bytes")
    text = _json(bytes(body), request.headers.get("content-type", ""))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": text}

    headers = [each for each in request.scope["headers"] if each[0] != b"content-type"]
    headers.append((b"content-type", b"application/json"))
    return Request({**request.scope, "headers": headers}, receive)


def _json(body: bytes, content_type: str) -> bytes:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if not body.strip():
            parameters: Any = {}
        elif kind == "application/x-www-form-urlencoded":
            parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
        elif kind == "multipart/form-data":
            parameters = _multipart(body, content_type)
        else:
            parameters = json.loads(body.decode())
        text = json.dumps(parameters)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"the body is neither JSON nor a form: {error}") from None
    if not isinstance(parameters, dict):
        raise BodyError("the body must be a JSON object")
    return text.encode()


def _multipart(body: bytes, content_type: str) -> dict[str, str]:
    header = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    form = BytesParser(policy=HTTP).parsebytes(header + body)
    if not form.is_multipart():
        raise ValueError("no part of a multipart form was found")
    parameters = {}
    for part in form.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = part.get_param("name", header="content-disposition")
        parameters[str(name)] = content.decode()
    return parameters


@dataclass(frozen=True)
class _AsPlivoReads:
    """Reads a request model as Plivo does: see `Lenient`."""

    def __get_pydantic_core_schema__(
        self, model: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(partial(_readable, model), handler(model))


Lenient: TypeAlias = Annotated[M, _AsPlivoReads()]
"""A request model that, like Plivo, ignores unknown and null parameters.

Numbers and booleans may be written as text, since forms have nothing else; where text is wanted, a
number is accepted. Empty text leaves an optional parameter out, as some SDKs write it.
"""


def _readable(model: type[BaseModel], parameters: Any) -> Any:
    if not isinstance(parameters, dict):
        return parameters
    kinds, optional = _kinds(model), _optional(model)
    return {
        name: _plain(value, kinds[name])
        for name, value in parameters.items()
        if name in kinds and value is not None and not (value == "" and name in optional)
    }


@cache
def _optional(model: type[BaseModel]) -> frozenset[str]:
    """Return the parameters that empty text leaves out: all optional ones but free texts."""
    return frozenset(
        field.alias or name
        for name, field in model.model_fields.items()
        if not field.is_required() and not (field.annotation == str | None and not field.metadata)
    )


@cache
def _kinds(model: type[BaseModel]) -> Mapping[str, frozenset[str]]:
    """Return the JSON types of each parameter, by the name that it has on the wire."""
    kinds = {}
    for name, schema in model.model_json_schema()["properties"].items():
        choices = [schema, *schema.get("anyOf", ())]
        kinds[name] = frozenset(each["type"] for each in choices if "type" in each)
    return kinds


def _plain(value: Any, kinds: frozenset[str]) -> Any:
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


def explained(errors: Sequence[Any]) -> str:
    """Return what is wrong with a request, in Plivo's words where they are known.

    Args:
        errors: Of a `RequestValidationError`, whose places begin with `body`, `query` or `path`.

    """
    return "; ".join(_explained(each) for each in errors)


def _explained(error: Mapping[str, Any]) -> str:
    name, text = ".".join(map(str, error["loc"][1:])), problem({**error, "loc": ()})
    if error["type"] == "missing":
        return f"{name} parameter is required"
    if name.endswith("url"):
        return f"{name}: Must be a valid url ({text})"
    return f"{name}: {text}" if name else text
