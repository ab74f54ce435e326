"""Speech to speech by OpenAI's Realtime API, over its WebSocket.

https://platform.openai.com/docs/guides/realtime-websocket. A mu-law or A-law call is passed through
as it is; an L16 call goes as PCM of 24 kHz, the one rate that the API has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack, cast

import msgspec
import pybase64
import structlog
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from audiocodecs import L16_24K, AudioFormat, Resampler
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.language_model import (
    Message,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.openai.client import Connection, OpenAIClient
from mediaserver.agents.services.realtime import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    RealtimeEvent,
    ResponseDone,
    Speech,
    SpokenText,
)
from mediaserver.call import Frame


try:
    # The package imports this when it is first used, which would be in a call.
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"OpenAI's Realtime API needs a package that is not installed ({error.name}): "
        "pip install mediaserver[openai]",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from openai.types.websocket_connection_options import WebSocketConnectionOptions


_SERVICE = "openai_realtime"

_SHORTEST_TURN = 0.1
"""The API refuses to take a turn that has less audio than this, in seconds."""

_BATCH = 0.1
"""Seconds of the caller's speech in a message, while nobody waits for it."""

_LIVE_BATCH = 0.02
"""The same where the API takes the turns, and listens for when they begin and end."""

_REMEMBERED_ITEMS = 64
"""How many of the things said last can still be truncated."""

# Whatever `websockets.connect` takes is passed on, beyond what the type of it names.
_OPTIONS = cast("WebSocketConnectionOptions", {"close_timeout": 1.0})

log = structlog.get_logger(__name__)


_Words: TypeAlias = "asyncio.Future[tuple[str | None, CallerText]]"
"""The item of some speech, and the words of it, when they are known."""


class OpenAIRealtime:
    """OpenAI's speech-to-speech models.

    Args:
        model: the model's name.
        voice: who speaks: ``marin``, ``cedar``, ``alloy``, …
        transcription: the model that writes down what the caller says, for the conversation, logs
            and hooks, and so that a short "Stop!" interrupts; None to go without.
        language: what the caller speaks (``en``), for the transcription.
        turn_detection: None to have turns taken by the agent, which knows what the caller hears and
            so is not taken in by a cough. Or the API's own settings to have it take them, as
            ``{"type": "semantic_vad"}``.
        session: further settings of the session, as the API has them, laid over all others:
            ``{"reasoning": {"effort": "low"}, "audio": {"output": {"speed": 1.1}}}``.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds for which it may pause. After that, or if it does not begin, the
            connection counts as lost.
        connection: see `OpenAIClient`; ``connect_timeout`` is that of the whole set-up, five
            seconds if left out.

    """

    def __init__(
        self,
        *,
        model: str = "gpt-realtime-2.1",
        voice: str = "marin",
        transcription: str | None = "gpt-transcribe",
        language: str | None = None,
        turn_detection: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float = 5.0,
        **connection: Unpack[Connection],
    ) -> None:
        require_seconds(first_timeout=first_timeout, stall_timeout=stall_timeout)
        self.model = model
        self.voice = voice
        self.transcription = transcription
        self.language = language
        self.turn_detection = turn_detection
        self.session = session or {}
        self.first_timeout = first_timeout
        self.stall_timeout = stall_timeout
        self.connect_timeout = connection.setdefault("connect_timeout", 5.0)
        self._client = OpenAIClient(_SERVICE, **connection)

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> OpenAIRealtimeSession:
        """Open a session, as `RealtimeModel` says."""
        connection: AsyncRealtimeConnection | None = None
        try:
            async with asyncio.timeout(self.connect_timeout):
                connection = await self._connect()
                session = OpenAIRealtimeSession(
                    self, self._client, connection, prompt=prompt, format=format
                )
                await session.configure(self.settings(prompt, tools, format), conversation)
        except BaseException as error:
            if connection is not None:
                await connection.close()
            if isinstance(error, TimeoutError):
                reason = f"no session within {self.connect_timeout:g} s"
                raise ServiceError(_SERVICE, reason) from error
            raise
        return session

    async def _connect(self) -> AsyncRealtimeConnection:
        with self._client.failures(self.model):
            try:
                return await (
                    self._client.get()
                    .realtime.connect(model=self.model, websocket_connection_options=_OPTIONS)
                    .enter()
                )
            except InvalidStatus as error:
                status = error.response.status_code
                reason = f"the connection was refused with {status}: {_refusal(error)}"
                raise self._client.failure(reason, status=status) from error
            except (OSError, WebSocketException) as error:
                reason = f"cannot connect to {self._client.base_url}: {error}"
                raise self._client.failure(reason) from error

    async def prewarm(self) -> None:
        """Make the client that connects. That there is no key is only logged."""
        try:
            self._client.get()
        except ServiceError as error:
            log.warning("not prewarmed", service=_SERVICE, error=str(error))

    async def close(self) -> None:
        """Close the client of the running event loop. Sessions are closed by whoever has them."""
        await self._client.close()

    def settings(
        self, prompt: str, tools: Sequence[ToolSpec], format: AudioFormat
    ) -> dict[str, Any]:
        """Return the settings of a session, as the API has them."""
        audio_format = _audio_format(format)
        transcription: dict[str, Any] | None = None
        if self.transcription is not None:
            transcription = {"model": self.transcription}
            if self.language is not None:
                transcription["language"] = self.language
        settings: dict[str, Any] = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": prompt,
            "audio": {
                "input": {
                    "format": audio_format,
                    "transcription": transcription,
                    "turn_detection": self.turn_detection,
                },
                "output": {"format": audio_format, "voice": self.voice},
            },
            "tools": [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                }
                for tool in tools
            ],
        }
        return _laid_over(settings, self.session)


class OpenAIRealtimeSession:
    """A session of `OpenAIRealtime`, for one call.

    What is sent after the connection was lost is dropped in silence: `events` tells of the loss.
    """

    takes_turns: bool

    def __init__(
        self,
        model: OpenAIRealtime,
        client: OpenAIClient,
        connection: AsyncRealtimeConnection,
        *,
        prompt: str,
        format: AudioFormat,
    ) -> None:
        self.takes_turns = model.turn_detection is not None
        self._model = model
        self._client = client
        self._connection = connection
        self._prompt = prompt
        self._format = format
        self._wire = format if format.encoding != "l16" else L16_24K
        self._resampler = (
            Resampler(format.rate, self._wire.rate) if format.rate != self._wire.rate else None
        )
        self._closed = False

        # The caller's speech that was not sent yet, and how much the present turn has in all.
        self._unsent = bytearray()
        self._batch = self._size_of(_LIVE_BATCH if self.takes_turns else _BATCH)
        self._turn_size = 0

        # Whether a response is being made; what is to be asked for when it is done; whether it was
        # cancelled, so that what still comes of it is late; and whether anything of it was said.
        self._responding = False
        self._cancelled = False
        self._spoke = False
        self._asked: dict[str, Any] = {}
        self._pending: deque[dict[str, Any]] = deque()
        self._requests = 0

        # Bytes received of each of the things said last, and of those which are complete.
        self._lengths: dict[str, int] = {}
        self._complete: set[str] = set()
        # Half a sample, until the other half comes.
        self._odd = b""
        # What of the caller's speech is being transcribed, oldest first; and who waits for words
        # that are no turn, by whether it has its item yet.
        self._untranscribed: deque[str] = deque()
        self._committed: deque[_Words | None] = deque()
        self._words: dict[str, _Words] = {}

        # When the next sign of the response has to have come.
        self._due: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._clock = asyncio.get_running_loop().time

    async def configure(self, settings: dict[str, Any], conversation: Sequence[Message]) -> None:
        """Set the session up, and wait until the API has agreed.

        Raises:
            ServiceError: it refuses, or the connection was lost.

        """
        await self._send({"type": "session.update", "session": settings})
        for message in conversation:
            await self.tell(message)
        while True:
            event = _decoded(await self._receive())
            if isinstance(event, _Error):
                raise self._client.failure(str(event.error))
            if isinstance(event, _SessionUpdated):
                return

    async def update(self, *, prompt: str, tools: Sequence[ToolSpec]) -> None:
        """Take another prompt and other tools, from the next response on."""
        self._prompt = prompt
        settings = self._model.settings(prompt, tools, self._format)
        changed = {name: settings[name] for name in ("type", "instructions", "tools")}
        await self._send({"type": "session.update", "session": changed})

    # What the caller does.

    async def hear(self, frame: Frame) -> None:
        """Let the model hear a piece of the caller's speech."""
        self._unsent += self._encoded(frame)
        if len(self._unsent) >= self._batch:
            await self._flush()

    async def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""
        await self._commit(None)
        await self.respond()

    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return the words of what may be speech, and have it forgotten.

        Empty if there is no transcription, or none in time, or the caller is in a turn.
        """
        nothing = CallerText("")
        if self._model.transcription is None or self._unsent or self._turn_size:
            return nothing
        for frame in frames:
            self._unsent += self._encoded(frame)
        words: _Words = asyncio.get_running_loop().create_future()
        await self._commit(words)
        try:
            async with asyncio.timeout(self._model.first_timeout):
                item_id, text = await words
        except TimeoutError:
            return nothing
        if item_id is not None:
            await self._send({"type": "conversation.item.delete", "item_id": item_id})
        return text

    async def _commit(self, words: _Words | None) -> None:
        """Take what was heard into the conversation."""
        missing = self._size_of(_SHORTEST_TURN) - self._turn_size - len(self._unsent)
        if missing > 0:
            count = -(-missing // self._wire.sample_bytes)
            self._unsent += self._wire.silence * count
        await self._flush()
        self._turn_size = 0
        if self._resampler is not None:
            self._resampler.reset()
        self._committed.append(words)
        await self._send({"type": "input_audio_buffer.commit"})

    def _encoded(self, frame: Frame) -> bytes:
        if self._resampler is None:
            return frame.payload
        return self._wire.encode(self._resampler.process(frame.samples))

    async def _flush(self) -> None:
        if self._unsent:
            audio = pybase64.b64encode(self._unsent).decode()
            self._turn_size += len(self._unsent)
            self._unsent.clear()
            await self._send_text(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')

    def _size_of(self, seconds: float) -> int:
        return round(seconds * self._wire.rate) * self._wire.sample_bytes

    # What the model is to do.

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, as a greeting."""
        # The instructions of a response take the place of the session's.
        whole = f"{self._prompt}\n\n{instructions}" if self._prompt else instructions
        await self._ask({"instructions": whole, "tool_choice": "none"})

    async def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""
        await self._ask({})

    async def tell(self, message: Message) -> None:
        """Add something to the conversation, without having it answered yet."""
        await self._send({"type": "conversation.item.create", "item": _item(message)})

    async def cancel(self) -> None:
        """Stop the response that is being made, if any is, and drop what comes late of it."""
        self._pending.clear()
        if self._responding and not self._cancelled:
            self._cancelled = True
            self._expect(self._model.stall_timeout)
            await self._send({"type": "response.cancel"})

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Tell the model that the caller heard no more than so much of what it said.

        Only once for each item, and not at all for one of which everything was heard.
        """
        received = self._lengths.pop(item_id, None)
        if received is None:
            return
        length = int(received * 1000 / self._wire.bytes_per_second)
        heard = round(max(0.0, seconds) * 1000)
        if heard >= length and item_id in self._complete:
            return
        await self._send(
            {
                "type": "conversation.item.truncate",
                "item_id": item_id,
                "content_index": 0,
                "audio_end_ms": min(heard, length),
            }
        )

    async def _ask(self, response: dict[str, Any]) -> None:
        if self._responding:
            self._pending.append(response)  # there can be one at a time
            return
        self._responding = True
        self._cancelled = self._spoke = False
        self._asked = response
        self._requests += 1
        self._expect(self._model.first_timeout)
        await self._send(
            {
                "type": "response.create",
                "event_id": f"respond-{self._requests}",
                **({"response": response} if response else {}),
            }
        )

    # What the model says.

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        """Yield what the model says and does until the connection closes.

        Raises:
            ServiceError: the connection was lost, or a response stalled.

        """
        while True:
            try:
                message = await self._receive()
            except ServiceError:
                for words in (*self._committed, *self._words.values()):
                    if words is not None and not words.done():
                        words.set_result((None, CallerText("")))
                if self._closed:
                    return
                raise
            event = _decoded(message)
            if event is None:
                continue
            if type(event) is _AudioDelta:
                self._due = self._clock() + self._model.stall_timeout
                if not self._cancelled and (audio := self._whole_samples(event)):
                    yield Speech(event.item_id, Frame(audio, self._wire))
                continue
            for told in await self._take(event):
                yield told

    async def _take(self, event: _ServerEvent) -> list[RealtimeEvent]:
        """Note what the server told, and return what of it the agent is told."""
        match event:
            case _TextDelta():
                self._expect(self._model.stall_timeout)
                return [] if self._cancelled else [SpokenText(event.item_id, event.delta)]
            case _OutputItemDone():
                return self._item_done(event.item)
            case _ResponseCreated():
                self._responding = True
                self._expect(self._model.first_timeout)
            case _ResponseDone():
                return await self._response_done(event.response)
            case _Committed():
                words = self._committed.popleft() if self._committed else None
                if words is not None:
                    self._words[event.item_id] = words
                if self._model.transcription is not None:
                    self._untranscribed.append(event.item_id)
            case _Transcribed():
                seconds = event.usage.seconds or 0.0
                tokens = event.usage.tokens
                return self._transcribed(event.item_id, event.transcript.strip(), seconds, tokens)
            case _TranscriptionFailed():
                reason = self._client.without_secrets(str(event.error))
                log.warning("transcription failed", service=_SERVICE, reason=reason)
                return self._transcribed(event.item_id, "")
            case _SpeechStarted():
                return [CallerSpeaks()]
            case _SpeechStopped():
                return [CallerFinished()]
            case _Error():
                return await self._refused(event.error)
            case _AudioDelta() | _SessionUpdated():
                pass
        return []

    def _whole_samples(self, event: _AudioDelta) -> bytes:
        audio = event.delta
        lengths = self._lengths
        if event.item_id not in lengths:
            lengths[event.item_id] = 0
            self._odd = b""
            if len(lengths) > _REMEMBERED_ITEMS:
                self._complete.discard(oldest := next(iter(lengths)))
                del lengths[oldest]
        lengths[event.item_id] += len(audio)
        self._spoke = True
        if self._wire.sample_bytes > 1:
            audio = self._odd + audio
            whole = len(audio) - len(audio) % self._wire.sample_bytes
            self._odd = audio[whole:]
            audio = audio[:whole]
        return audio

    def _item_done(self, item: _Item) -> list[RealtimeEvent]:
        if self._cancelled or item.status == "incomplete":
            return []
        if item.type == "function_call":
            return [ToolCall(item.call_id, item.name, item.arguments)]
        if item.id in self._lengths:
            self._complete.add(item.id)
        return []

    async def _response_done(self, response: _Response) -> list[RealtimeEvent]:
        error = None
        details = response.status_details or _StatusDetails()
        # The API cancels a response by itself where it takes the turns, as the caller speaks.
        cancelled = self._cancelled or details.reason == "turn_detected"
        if cancelled:
            pass
        elif response.status == "failed":
            error = str(details.error) if details.error else "the response failed"
        elif response.status == "cancelled":
            error = "the response was cancelled"
        elif response.status == "incomplete":
            if details.reason == "content_filter" or not self._spoke:
                error = f"the response was cut off ({details.reason})"
            else:
                log.warning("response cut off", service=_SERVICE, reason=details.reason)
        await self._go_on()
        tokens = response.usage.tokens if response.usage else None
        return [ResponseDone(tokens, error and self._client.without_secrets(error), cancelled)]

    async def _go_on(self) -> None:
        self._responding = self._cancelled = self._spoke = False
        self._expect(None)
        if self._pending:
            await self._ask(self._pending.popleft())

    def _transcribed(
        self, item_id: str, text: str, seconds: float = 0.0, tokens: Tokens | None = None
    ) -> list[RealtimeEvent]:
        """Tell one text for each turn, in the order of the turns."""
        if item_id not in self._untranscribed:
            return []
        told: list[RealtimeEvent] = []
        while True:
            first = self._untranscribed.popleft()
            understood = CallerText(text, seconds, tokens) if first == item_id else CallerText("")
            words = self._words.pop(first, None)
            if words is None:
                told.append(understood)
            elif not words.done():
                words.set_result((first, understood))
            if first == item_id:
                return told

    async def _refused(self, error: _Reason) -> list[RealtimeEvent]:
        # Most errors leave the session as it was, the API's reference says.
        if error.code == "response_cancel_not_active":
            return []
        if error.code == "conversation_already_has_active_response":
            # The API began one by itself at the same moment.
            if not self._cancelled:
                self._pending.appendleft(self._asked)
            return []
        reason = self._client.without_secrets(str(error))
        log.warning("request refused", service=_SERVICE, reason=reason)
        if error.event_id != f"respond-{self._requests}" or not self._responding:
            return []
        cancelled = self._cancelled
        await self._go_on()
        return [ResponseDone(None, reason, cancelled)]

    # The connection.

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            await self._connection.close()

    def _expect(self, seconds: float | None) -> None:
        """Have the next sign of a response come within so many seconds."""
        self._due = None if seconds is None else self._clock() + seconds
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._due)

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._due) as self._patience:
                return await self._connection.recv_bytes()
        except TimeoutError:
            raise ServiceError(_SERVICE, "a response stalled") from None
        except ConnectionClosed as error:
            raise self._client.failure(f"the connection was lost: {error}") from error
        finally:
            self._patience = None

    async def _send(self, event: dict[str, Any]) -> None:
        await self._send_text(msgspec.json.encode(event).decode())

    async def _send_text(self, message: str) -> None:
        try:
            await self._connection.send_raw(message)
        except ConnectionClosed:
            pass


# What the server sends. The client's own models take dozens of times as long to make and check
# nothing; here an event that is not as the API's reference has it is refused.


class _Reason(msgspec.Struct, gc=False):
    message: str | None = None
    code: str | None = None
    type: str | None = None
    event_id: str | None = None

    def __str__(self) -> str:
        what = self.message or "no reason was given"
        kind = self.code or self.type
        return f"{what} ({kind})" if kind else what


class _TokenDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _TokenDetails | None = None
    seconds: float | None = None

    @property
    def tokens(self) -> Tokens | None:
        if self.input_tokens is None and self.output_tokens is None:
            return None
        details = self.input_token_details
        cached = details.cached_tokens if details is not None else None
        return Tokens(self.input_tokens or 0, self.output_tokens or 0, cached or 0)


class _StatusDetails(msgspec.Struct, gc=False):
    error: _Reason | None = None
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    status: str | None = None
    status_details: _StatusDetails | None = None
    usage: _Usage | None = None


class _Item(msgspec.Struct, gc=False):
    id: str
    type: str
    status: str | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class _AudioDelta(msgspec.Struct, gc=False):
    item_id: str
    delta: bytes


class _TextDelta(msgspec.Struct, gc=False):
    item_id: str
    delta: str


class _ResponseCreated(msgspec.Struct, gc=False):
    response: _Response


class _OutputItemDone(msgspec.Struct, gc=False):
    item: _Item


class _ResponseDone(msgspec.Struct, gc=False):
    response: _Response


class _Committed(msgspec.Struct, gc=False):
    item_id: str


class _Transcribed(msgspec.Struct, gc=False):
    item_id: str
    transcript: str
    usage: _Usage = msgspec.field(default_factory=_Usage)


class _TranscriptionFailed(msgspec.Struct, gc=False):
    item_id: str
    error: _Reason


class _SpeechStarted(msgspec.Struct, gc=False):
    pass


class _SpeechStopped(msgspec.Struct, gc=False):
    pass


class _SessionUpdated(msgspec.Struct, gc=False):
    pass


class _Error(msgspec.Struct, gc=False):
    error: _Reason


_ServerEvent: TypeAlias = (
    _AudioDelta
    | _TextDelta
    | _ResponseCreated
    | _OutputItemDone
    | _ResponseDone
    | _Committed
    | _Transcribed
    | _TranscriptionFailed
    | _SpeechStarted
    | _SpeechStopped
    | _SessionUpdated
    | _Error
)


class _Head(msgspec.Struct, gc=False):
    type: str


_head = msgspec.json.Decoder(_Head)
_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind)
    for name, kind in {
        "response.output_audio.delta": _AudioDelta,
        "response.output_audio_transcript.delta": _TextDelta,
        "response.created": _ResponseCreated,
        "response.output_item.done": _OutputItemDone,
        "response.done": _ResponseDone,
        "input_audio_buffer.committed": _Committed,
        "conversation.item.input_audio_transcription.completed": _Transcribed,
        "conversation.item.input_audio_transcription.failed": _TranscriptionFailed,
        "input_audio_buffer.speech_started": _SpeechStarted,
        "input_audio_buffer.speech_stopped": _SpeechStopped,
        "session.updated": _SessionUpdated,
        "error": _Error,
    }.items()
}


def _decoded(message: bytes) -> _ServerEvent | None:
    """Return what matters of the server's events; None for the others, and for garbage."""
    try:
        decoder = _DECODERS.get(_head.decode(message).type)
        event: _ServerEvent | None = decoder.decode(message) if decoder is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # One bad event is no reason to lose the call. What is missed by it is noticed elsewhere.
        log.warning("malformed event", service=_SERVICE, reason=str(error))
        return None
    return event


def _refusal(error: InvalidStatus) -> str:
    body = error.response.body or b""
    try:
        return str(msgspec.json.decode(body, type=_Error).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:200].decode(errors="replace") or error.response.reason_phrase


def _audio_format(format: AudioFormat) -> dict[str, Any]:
    match format.encoding:
        case "mulaw":
            return {"type": "audio/pcmu"}
        case "alaw":
            return {"type": "audio/pcma"}
        case _:
            return {"type": "audio/pcm", "rate": L16_24K.rate}


def _item(message: Message) -> dict[str, Any]:
    match message:
        case Text(role="assistant", text=text):
            content = {"type": "output_text", "text": text}
            return {"type": "message", "role": "assistant", "content": [content]}
        case Text(role=role, text=text):
            content = {"type": "input_text", "text": text}
            return {"type": "message", "role": role, "content": [content]}
        case ToolCall(id=call_id, name=name, arguments=arguments):
            return {
                "type": "function_call",
                "call_id": call_id,
                "name": name,
                "arguments": arguments,
            }
        case ToolResult(call_id=call_id, text=text):
            return {"type": "function_call_output", "call_id": call_id, "output": text}


def _laid_over(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` with `changes` made in it, at any depth."""
    merged = dict(settings)
    for name, value in changes.items():
        present = merged.get(name)
        if isinstance(present, dict) and isinstance(value, Mapping):
            value = _laid_over(present, value)
        merged[name] = value
    return merged
