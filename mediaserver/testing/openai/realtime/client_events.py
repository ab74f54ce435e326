"""Checks of what clients send: each event must be of a known type, with no field left over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias, get_args

import msgspec
import pybase64
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from pydantic import BaseModel, ValidationError


JsonDict: TypeAlias = dict[str, Any]

_MODELS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(RealtimeClientEvent)[0])
}


class RealtimeRefusal(Exception):  # noqa: N818
    """An API error that is sent to the client.

    Attributes:
        code: OpenAI's code for it, if it has one.
        param: the parameter that is wrong, if it is one.

    """

    def __init__(self, code: str | None, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def read_event(message: str | bytes) -> JsonDict:
    """Return the JSON object of a message.

    Raises:
        RealtimeRefusal: the message is not a JSON object.

    """
    if isinstance(message, bytes):
        raise RealtimeRefusal("invalid_message", "Messages are text, not binary.")
    try:
        event = msgspec.json.decode(message)
    except msgspec.DecodeError as error:
        raise RealtimeRefusal("invalid_json", f"Could not parse JSON: {error}") from None
    if not isinstance(event, dict):
        raise RealtimeRefusal("invalid_json", "A message is a JSON object.")
    return event


def check_event(event: JsonDict) -> None:
    """Check an event against its type in the ``openai`` package.

    Raises:
        RealtimeRefusal: its type is unknown, or a field is unknown, missing or wrong.

    """
    kind = event.get("type")
    model = _MODELS.get(str(kind))
    if model is None:
        text = f"Invalid value: {kind!r}. Supported values are: {', '.join(_MODELS)}."
        raise RealtimeRefusal("invalid_value", text, param="type")
    try:
        typed = model.model_validate(event)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RealtimeRefusal("invalid_type", f"{where}: {first['msg']}", param=where) from None
    if unknown := next(_unknown(typed), None):
        text = f"Unknown parameter: '{unknown}'."
        raise RealtimeRefusal("unknown_parameter", text, param=unknown)


def decoded_audio(event: JsonDict) -> bytes:
    """Return the audio of an ``input_audio_buffer.append``.

    Raises:
        RealtimeRefusal: it is not base64.

    """
    try:
        return pybase64.b64decode(event["audio"], validate=True)
    except ValueError:
        text = "Invalid 'audio'. Expected base64-encoded audio bytes."
        raise RealtimeRefusal("invalid_value", text, param="audio") from None


def _unknown(value: Any, path: str = "") -> Iterator[str]:
    """Yield the names of the fields of an event that its type does not have."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or ():
            yield f"{path}{name}"
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unknown(entry, f"{path}{index}.")
