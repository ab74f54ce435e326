"""A local OpenAI to test against: chat completions, transcriptions, speech; scripted, and faulty.

It needs no key and no network, checks every request with the parameter types of the ``openai``
package, and says what you tell it to say::

    async with OpenAIServer() as openai:
        openai.chat.will(says("Good ", "morning."), fails(429, retry_after=0.1))
        model = OpenAIChat("any", base_url=openai.base_url)

What is not scripted is answered with something that works.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import GenericAlias, TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, get_type_hints

import uvicorn
from openai.types import CompletionUsage
from openai.types.audio import (
    SpeechCreateParams,
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
)
from openai.types.audio.transcription_create_params import TranscriptionCreateParamsStreaming
from openai.types.chat import ChatCompletion, ChatCompletionChunk, CompletionCreateParams
from openai.types.completion_usage import PromptTokensDetails
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict
from uvicorn.server import ServerState


Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

MAX_FILE: Final = 25 * 1024 * 1024
"""Bytes of audio that the transcription endpoint takes, as OpenAI's."""

_CHAT: Final = "/v1/chat/completions"
_TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
_SPEECH: Final = "/v1/audio/speech"

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class GroqSpeechParams(SpeechCreateParams, total=False):
    """What Groq's speech endpoint takes besides."""

    response_format: Literal["flac", "mp3", "mulaw", "ogg", "wav"]  # type: ignore[misc]
    sample_rate: Literal[8000, 16000, 22050, 24000, 32000, 44100, 48000]


def check_chat(params: object) -> dict[str, Any]:
    """Return the parameters of a chat completion as plain dicts and lists, all of them checked.

    Raises:
        RefusedError: a field is unknown, missing or wrong; or the messages cannot follow each
            other so.

    """
    checked = _checked(_CHAT_PARAMS, params)
    _check_sequence(checked["messages"])
    return checked


def _strict(params: Any) -> TypeAdapter[Any]:
    # a configuration is not taken for a TypedDict, but for a list of them, all through
    several: Any = GenericAlias(list, (params,))
    return TypeAdapter(several, config=ConfigDict(extra="forbid"))


def _form_params() -> Any:
    """Return the fields of a transcription's form; the file, which is bytes there, apart."""
    fields = get_type_hints(TranscriptionCreateParamsStreaming, include_extras=True)
    fields = {name: kind for name, kind in fields.items() if name not in ("file", "model")}
    fields["stream"] = bool
    return TypedDict("TranscriptionForm", fields, total=False)  # type: ignore[operator]


_CHAT_PARAMS = _strict(CompletionCreateParams)
_FORM_PARAMS = _strict(_form_params())
_SPEECH_PARAMS = {"openai": _strict(SpeechCreateParams), "groq": _strict(GroqSpeechParams)}


class Hold:
    """A place in an answer at which the server waits until it is released.

    Attributes:
        reached: set when the server has come to it.
        left: set when the client closed the connection meanwhile.

    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.left = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the server go on."""
        self._released.set()

    async def wait(self) -> None:
        """Wait for `release`."""
        self.reached.set()
        await self._released.wait()


@dataclass(frozen=True, slots=True)
class At:
    """A place in an answer that is not passed before so many seconds after the request came."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A place in an answer at which the server closes the connection."""


Pause: TypeAlias = Hold | At | Disconnect
Piece: TypeAlias = bytes | Pause
"""Of a response's body. The headers are sent with the first bytes, which may be empty."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, as `says` has the model make it. An `id` of None is left out."""

    name: str
    arguments: str = "{}"
    id: str | None = "call_1"


@dataclass(frozen=True, slots=True)
class Received:
    """A request that was accepted.

    Attributes:
        params: its parameters, without the file.
        file: the audio of a transcription.
        headers: in lower case.
        client: the port that it came from, so that connections can be told apart.

    """

    params: Mapping[str, Any]
    file: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    client: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, down to its bytes."""

    body: Sequence[Piece]
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Answer: TypeAlias = Reply | Callable[[Received], Reply]


class Endpoint:
    """One endpoint: what it will answer, and what it received.

    Attributes:
        received: the requests that were accepted, oldest first.
        answer: what it answers when nothing was ordered with `will`.

    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self._ordered: deque[Answer] = deque()

    def will(self, *answers: Answer) -> None:
        """Order answers, for one request each."""
        self._ordered.extend(answers)

    def _reply(self, request: Received) -> Reply:
        self.received.append(request)
        answer = self._ordered.popleft() if self._ordered else self.answer
        return answer if isinstance(answer, Reply) else answer(request)


def says(
    *pieces: str | Pause | bytes,
    calls: Sequence[Call] = (),
    refusal: str | None = None,
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] | None = None,
    tokens: tuple[int, int, int] = (20, 10, 0),
) -> Answer:
    """Return a chat answer.

    Args:
        pieces: the text as it is streamed; in between, waits and raw bytes.
        calls: the tools that the model uses after it.
        refusal: what the model says in place of an answer.
        finish_reason: why it ends; None is ``tool_calls`` or ``stop``.
        tokens: read, written, read from the cache; told if the request asks for it.

    """
    reason = finish_reason or ("tool_calls" if calls else "stop")
    usage = CompletionUsage(
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        total_tokens=tokens[0] + tokens[1],
        prompt_tokens_details=PromptTokensDetails(cached_tokens=tokens[2]),
    )

    def answer(request: Received) -> Reply:
        params = request.params
        if not params.get("stream"):
            return Reply([_completion(params, pieces, calls, refusal, reason, usage)])
        body: list[Piece] = [_chunk(params, {"role": "assistant", "content": ""})]
        body.extend(_chunk(params, {"content": p}) if isinstance(p, str) else p for p in pieces)
        if refusal is not None:
            body.append(_chunk(params, {"refusal": refusal}))
        body.extend(_chunk(params, {"tool_calls": [delta]}) for delta in _call_deltas(calls))
        body.append(_chunk(params, {}, reason))
        if (params.get("stream_options") or {}).get("include_usage"):
            body.append(_chunk(params, None, usage=usage))
        return Reply([*body, b"data: [DONE]\n\n"], "text/event-stream")

    return answer


def event(data: object) -> bytes:
    """Return a server-sent event: of JSON, or of a string as it is."""
    return b"data: %s\n\n" % (data if isinstance(data, str) else json.dumps(data)).encode()


def streams(*pieces: object) -> Reply:
    """Return an event stream of raw events: anything that is JSON, strings, waits, bytes."""
    body = [p if isinstance(p, bytes | Pause) else event(p) for p in pieces]
    return Reply(body, "text/event-stream")


def hears(text: str, *, pieces: Sequence[str | Pause] | None = None) -> Answer:
    """Return a transcription.

    Args:
        text: what was understood.
        pieces: how it is streamed, if the request asks for it; None is word by word.

    """
    deltas = pieces if pieces is not None else re.findall(r"\s*\S+", text)

    def answer(request: Received) -> Reply:
        if not request.params.get("stream"):
            body = Transcription(text=text).model_dump_json(exclude_none=True)
            return Reply([body.encode()])
        events: list[Piece] = []
        for piece in deltas:
            if isinstance(piece, str):
                delta = TranscriptionTextDeltaEvent(delta=piece, type="transcript.text.delta")
                events.append(event(delta.to_dict()))
            else:
                events.append(piece)
        done = TranscriptionTextDoneEvent(text=text, type="transcript.text.done")
        return Reply([*events, event(done.to_dict())], "text/event-stream")

    return answer


def speaks(*pieces: bytes | Pause, content_type: str | None = None) -> Answer:
    """Return speech: the audio's bytes in the pieces in which they are sent.

    Args:
        pieces: bytes of the format that the request asks for; in between, waits.
        content_type: None is that of the format.

    """

    def answer(request: Received) -> Reply:
        asked = request.params.get("response_format", "mp3")
        named = content_type if content_type is not None else f"audio/{asked}"
        return Reply(pieces or [b""], named)

    return answer


def fails(
    status: int,
    message: str = "it was told to fail",
    *,
    code: str | None = None,
    retry_after: float | None = None,
) -> Reply:
    """Return an error in OpenAI's words.

    Args:
        status: the HTTP status.
        message: what is wrong.
        code: as ``insufficient_quota``.
        retry_after: seconds, for the header ``Retry-After``.

    """
    error = {"message": message, "type": "error", "param": None, "code": code}
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return Reply([json.dumps({"error": error}).encode()], status=status, headers=headers)


class OpenAIServer:
    """A server of OpenAI's protocol on 127.0.0.1, as an async context manager.

    Args:
        api_key: the key that requests must bring; None takes any, and none.
        dialect: ``"groq"`` takes what Groq's speech endpoint takes: mu-law, and a sample rate.
        port: where to listen; 0 is any free port.

    Attributes:
        chat, transcription, speech: the endpoints.
        refused: why requests were refused, oldest first.
        opened: the number of connections that clients have opened.

    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        dialect: Literal["openai", "groq"] = "openai",
        port: int = 0,
    ) -> None:
        self.chat = Endpoint(says("Good morning. ", "How can I help?"))
        self.transcription = Endpoint(hears("Good morning."))
        self.speech = Endpoint(_tone)
        self.refused: list[str] = []
        self._api_key = api_key
        self._dialect = dialect
        self._port = port
        self._clients: set[int] = set()
        self._closing = asyncio.Event()
        self._state = ServerState()

    @property
    def base_url(self) -> str:
        """What clients are given as their base URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def opened(self) -> int:
        """How many connections clients have opened, as far as requests came over them."""
        return len(self._clients)

    async def __aenter__(self) -> Self:
        config = uvicorn.Config(self, log_config=None, log_level="critical", lifespan="off")
        config.load()
        protocol: Any = config.http_protocol_class
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=self._state, app_state={}),
            host="127.0.0.1",
            port=self._port,
        )
        self._port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._listener.close()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._listener.wait_closed()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request; the server is an ASGI application too."""
        came = time.monotonic()
        self._clients.add(scope["client"][1])
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = await _body(receive)
        try:
            reply = self._reply(scope, headers, body)
        except RefusedError as refused:
            self.refused.append(refused.message)
            reply = fails(refused.status, refused.message, code=refused.code)
        await _Sending(reply, receive, send, self._closing, came).run()

    def _reply(self, scope: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> Reply:
        path, method = scope["path"], scope["method"]
        if method == "HEAD":
            return Reply([b""], status=404)
        if self._api_key is not None and headers.get("authorization") != f"Bearer {self._api_key}":
            raise RefusedError(401, "Incorrect API key provided.", "invalid_api_key")
        if (method, path) == ("GET", "/v1/models"):
            return Reply([b'{"object": "list", "data": []}'])
        if method != "POST":
            raise RefusedError(405, f"{method} is not allowed")
        client = scope["client"][1]
        if path == _CHAT:
            params = check_chat(_json(body))
            return self.chat._reply(Received(params, b"", headers, client))
        if path == _SPEECH:
            params = _checked(_SPEECH_PARAMS[self._dialect], _json(body))
            _check_text(params["input"])
            return self.speech._reply(Received(params, b"", headers, client))
        if path == _TRANSCRIPTIONS:
            params, file = _form(headers.get("content-type", ""), body)
            return self.transcription._reply(Received(params, file, headers, client))
        raise RefusedError(404, f"there is no {path}")


class RefusedError(ValueError):
    """A request that OpenAI would refuse.

    Attributes:
        status: the HTTP status.
        message: what is wrong.
        code: OpenAI's code for it, if it has one.

    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class _Sending:
    """A response being sent: it waits where it is told to, and notices that the client leaves."""

    def __init__(
        self, reply: Reply, receive: Receive, send: Send, closing: asyncio.Event, came: float
    ) -> None:
        self._reply = reply
        self._receive = receive
        self._send = send
        self._closing = closing
        self._came = came
        self._started = False

    async def run(self) -> None:
        left = asyncio.create_task(self._left())
        closing = asyncio.create_task(self._closing.wait())
        try:
            for piece in self._reply.body:
                if isinstance(piece, bytes):
                    await self._write(piece, more=True)
                elif isinstance(piece, Disconnect):
                    return  # uvicorn closes the connection of a response without an end
                elif not await self._pause(piece, left, closing):
                    return
            await self._write(b"", more=False)
        finally:
            left.cancel()
            closing.cancel()

    async def _pause(
        self, pause: Hold | At, left: asyncio.Task[None], closing: asyncio.Task[Literal[True]]
    ) -> bool:
        """Wait, and return whether anybody still listens."""
        if isinstance(pause, At):
            over = asyncio.create_task(asyncio.sleep(self._came + pause.seconds - time.monotonic()))
        else:
            over = asyncio.create_task(pause.wait())
        await asyncio.wait([over, left, closing], return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            return True
        over.cancel()
        if isinstance(pause, Hold):
            pause.left.set()
        return False

    async def _write(self, data: bytes, *, more: bool) -> None:
        if not self._started:
            self._started = True
            named = {"content-type": self._reply.content_type, **self._reply.headers}
            headers = [(k.encode(), v.encode()) for k, v in named.items() if v]
            status = self._reply.status
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if data or not more:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_FILE + 65536 or not message.get("more_body"):
            return bytes(body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise RefusedError(400, "the body is not JSON") from None


def _checked(params: TypeAdapter[Any], given: object) -> dict[str, Any]:
    """Return the parameters as plain dicts and lists, every field of every part checked."""
    try:
        checked: dict[str, Any] = _plain(params.validate_python([given]))[0]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"][1:]))
        raise RefusedError(400, f"{where}: {first['msg']}") from None
    return checked


def _plain(value: Any) -> Any:
    # what the types call iterable is checked only when it is iterated over
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    return [_plain(item) for item in value]


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
            raise RefusedError(400, f"tool calls without a tool message: {awaited}")
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


def _check_text(text: str) -> None:
    if not 1 <= len(text) <= 4096:
        raise RefusedError(400, f"input must have 1 to 4096 characters, not {len(text)}")


def _form(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
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
                raise RefusedError(400, "the file's name does not say what it is")
            file = value
        elif key.endswith("[]"):
            fields.setdefault(key.removesuffix("[]"), []).append(value.decode())
        else:
            fields[key] = value.decode()
    if not 0 < len(file) <= MAX_FILE:
        raise RefusedError(400, f"file: 1 to {MAX_FILE} bytes, not {len(file)}")
    if not fields.get("model"):
        raise RefusedError(400, "model: Field required")
    model = fields.pop("model")
    return {"model": model, **_checked(_FORM_PARAMS, fields)}, file


_ids = count(1)


def _chunk(
    params: Mapping[str, Any],
    delta: object,
    finish_reason: str | None = None,
    usage: CompletionUsage | None = None,
) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    chunk = ChatCompletionChunk.model_validate(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": params["model"],
            "choices": [] if delta is None else choices,
            "usage": usage,
        }
    )
    return b"data: %s\n\n" % chunk.to_json(indent=None, exclude_unset=True).encode()


def _call_deltas(calls: Sequence[Call]) -> Iterator[dict[str, Any]]:
    """Stream each call as OpenAI does: first its name, then its arguments in pieces."""
    for index, call in enumerate(calls):
        opening: dict[str, Any] = {
            "index": index,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield opening if call.id is None else {**opening, "id": call.id}
        half = math.ceil(len(call.arguments) / 2)
        for piece in filter(None, (call.arguments[:half], call.arguments[half:])):
            yield {"index": index, "function": {"arguments": piece}}


def _completion(
    params: Mapping[str, Any],
    pieces: Sequence[str | Pause | bytes],
    calls: Sequence[Call],
    refusal: str | None,
    finish_reason: str,
    usage: CompletionUsage,
) -> bytes:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(piece for piece in pieces if isinstance(piece, str)),
        "refusal": refusal,
    }
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id or f"call_{next(_ids)}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    completion = ChatCompletion.model_validate(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": params["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": usage,
        }
    )
    return completion.to_json(indent=None).encode()


def _tone(request: Received) -> Reply:
    """Half a second of 440 Hz, as long as it is asked for in a format that is written here."""
    import numpy as np

    from audiocodecs import AudioFormat, encode_wav

    asked = request.params.get("response_format", "mp3")
    if asked not in ("pcm", "wav", "mulaw"):
        raise RefusedError(400, f"this server speaks pcm, wav and mulaw, not {asked}")
    rate = request.params.get("sample_rate", 24000)
    seconds = np.arange(rate // 2) / rate
    samples = (8000 * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)
    if asked == "wav":
        audio = encode_wav(samples, rate)
    else:
        audio = AudioFormat("l16" if asked == "pcm" else "mulaw", rate).encode(samples)
    return Reply([audio], f"audio/{asked}")
