"""Checks of requests to OpenAI's HTTP API: what OpenAI refuses is refused here."""

from __future__ import annotations

import copy
import json
import re
from types import GenericAlias
from typing import Any, Final, Literal, get_type_hints

from openai.types.audio import SpeechCreateParams
from openai.types.audio.transcription_create_params import TranscriptionCreateParamsStreaming
from openai.types.chat import CompletionCreateParams
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mediaserver.testing.http_server import RefusedError


MAX_FILE: Final = 25 * 1024 * 1024
"""Most bytes of audio that the transcription endpoint takes, as OpenAI's."""

Dialect = Literal["openai", "groq"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class GroqSpeechParams(SpeechCreateParams, total=False):
    """The parameters of Groq's speech endpoint, which takes more than OpenAI's."""

    response_format: Literal["flac", "mp3", "mulaw", "ogg", "wav"]  # type: ignore[misc]
    sample_rate: Literal[8000, 16000, 22050, 24000, 32000, 44100, 48000]


def check_chat(params: object) -> dict[str, Any]:
    """Return the parameters of a chat completion as plain dicts and lists, all of them checked.

    A tool call may have ``extra_content``, as Gemini's have it.

    Raises:
        RefusedError: a field is unknown, missing or wrong, or the messages are in an order that
            OpenAI does not take.

    """
    params = copy.deepcopy(params)
    own = {
        str(call["id"]): call.pop("extra_content")
        for call in _tool_calls(params)
        if "extra_content" in call
    }
    checked = _checked(_CHAT, params)
    _check_sequence(checked["messages"])
    for call in _tool_calls(checked):
        if call["id"] in own:
            call["extra_content"] = own[call["id"]]
    return checked


def check_speech(params: object, dialect: Dialect) -> dict[str, Any]:
    """Return the parameters of a speech request, likewise.

    Raises:
        RefusedError: a field is unknown, missing or wrong, or the text is empty or too long.

    """
    checked = _checked(_SPEECH[dialect], params)
    length = len(checked["input"])
    if not 1 <= length <= 4096:
        raise RefusedError(400, f"input must have 1 to 4096 characters, not {length}")
    return checked


def read_json(body: bytes) -> Any:
    """Return what a body of JSON says.

    Raises:
        RefusedError: the body is not JSON.

    """
    try:
        return json.loads(body)
    except ValueError:
        raise RefusedError(400, "the body is not JSON") from None


def read_form(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the checked fields of a transcription's form, and the file.

    Raises:
        RefusedError: the body is not such a form, or a field is unknown, missing or wrong.

    """
    boundary = re.fullmatch(r"multipart/form-data; boundary=\"?([^\";]+)\"?", content_type)
    if not boundary:
        raise RefusedError(400, f"not multipart/form-data: {content_type!r}")
    fields: dict[str, Any] = {}
    file = b""
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        if name is None:
            raise RefusedError(400, "a part of the form has no name")
        key = name[1].decode()
        if key == "file":
            if not re.search(rb'filename="[^"]+\.(flac|mp3|mp4|m4a|ogg|wav|webm)"', head):
                raise RefusedError(400, "the file's name does not end in a known audio format")
            file = value
        elif key.endswith("[]"):
            fields.setdefault(key.removesuffix("[]"), []).append(value.decode())
        else:
            fields[key] = value.decode()
    if not 0 < len(file) <= MAX_FILE:
        raise RefusedError(400, f"file: 1 to {MAX_FILE} bytes, not {len(file)}")
    if not fields.get("model"):
        raise RefusedError(400, "model: Field required")
    return {"model": fields.pop("model"), **_checked(_FORM, fields)}, file


def _strict(params: Any) -> TypeAdapter[Any]:
    # pydantic takes a configuration for a list of TypedDicts, but not for a TypedDict alone
    several: Any = GenericAlias(list, (params,))
    return TypeAdapter(several, config=ConfigDict(extra="forbid"))


def _form_params() -> Any:
    """Return the fields of a transcription's form, without the model and the file."""
    fields = get_type_hints(TranscriptionCreateParamsStreaming, include_extras=True)
    fields = {name: kind for name, kind in fields.items() if name not in ("file", "model")}
    fields["stream"] = bool
    return TypedDict("TranscriptionForm", fields, total=False)  # type: ignore[operator]


_CHAT = _strict(CompletionCreateParams)
_FORM = _strict(_form_params())
_SPEECH = {"openai": _strict(SpeechCreateParams), "groq": _strict(GroqSpeechParams)}


def _checked(params: TypeAdapter[Any], given: object) -> dict[str, Any]:
    try:
        checked: dict[str, Any] = _plain(params.validate_python([given]))[0]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"][1:]))
        raise RefusedError(400, f"{where}: {first['msg']}") from None
    return checked


def _plain(value: Any) -> Any:
    # pydantic checks the items of an iterable only when they are read
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    return [_plain(item) for item in value]


def _tool_calls(params: Any) -> list[dict[str, Any]]:
    """Return the tool calls of all messages, whatever else is wrong with them."""
    messages = params.get("messages") if isinstance(params, dict) else None
    return [
        call
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and isinstance(message.get("tool_calls"), list)
        for call in message["tool_calls"]
        if isinstance(call, dict) and "id" in call
    ]


def _check_sequence(messages: list[dict[str, Any]]) -> None:
    """Refuse what OpenAI refuses although the types allow it."""
    if not messages:
        raise RefusedError(400, "messages: [] is too short")
    awaited: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in awaited:
                raise RefusedError(400, "a tool message must follow the tool call it answers")
            awaited.remove(message["tool_call_id"])
            continue
        if awaited:
            break
        calls = message.get("tool_calls", ())
        awaited = [call["id"] for call in calls]
        if len(set(awaited)) < len(awaited):
            raise RefusedError(400, f"tool calls with one id: {awaited}")
        for name in (call["function"]["name"] for call in calls):
            if not _NAME.fullmatch(name):
                raise RefusedError(400, f"not a tool's name: {name!r}")
        if not message.get("content") and not calls:
            raise RefusedError(400, "a message must have content")
    if awaited:
        raise RefusedError(400, f"tool calls without a tool message: {awaited}")
