"""Sessions of OpenAI's Realtime API that only transcribe, on this machine.

The server understands what a test tells it to, when the audio of the connection is there::

    async with OpenAITranscriptionServer("I want to book a table.").running() as server:
        recognizer = OpenAIRecognizer(base_url=server.base_url, api_key=server.api_key)

https://developers.openai.com/api/docs/guides/realtime-transcription.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from websockets.asyncio.server import ServerConnection

from mediaserver.testing.heard_speech import HeardSpeech
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.openai.azure import AzureGate
from mediaserver.testing.openai.realtime.client_events import (
    JsonDict,
    RealtimeRefusal,
    decoded_audio,
)
from mediaserver.testing.openai.realtime.server import OpenAIRealtimeServer
from mediaserver.testing.openai.realtime.session import ServedSession
from mediaserver.testing.openai.realtime.session_settings import SessionSettings
from mediaserver.testing.socket_server import SocketFault


_STREAMING: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
_HINTED: Final = ("gpt-live-transcribe", "gpt-transcribe")
_EVENTS: Final = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
)
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


class TranscriptionSettings(SessionSettings):
    """The settings of a session, and what its model can do."""

    kind: ClassVar = "transcription"

    @property
    def model(self) -> str:
        """The model that transcribes."""
        return str((self._audio("input").get("transcription") or {}).get("model", ""))

    @property
    def streams(self) -> bool:
        """Whether the model transcribes as the audio comes."""
        return self.model in _STREAMING

    @property
    def turn_detection(self) -> JsonDict | None:
        """How the server takes the turns; None if the client does."""
        return None if self.streams else super().turn_detection

    def _check(self) -> None:
        super()._check()
        heard = self._audio("input")
        given = heard.get("transcription") or {}
        if heard.get("turn_detection") is not None and self.streams:
            text = "Turn detection is not supported for this transcription model."
            raise RealtimeRefusal("invalid_value", text, param="session.audio.input.turn_detection")
        for name, models in (("keywords", _HINTED), ("languages", _HINTED), ("delay", _STREAMING)):
            if name in given and self.model not in models:
                text = f"'{name}' is not supported for this transcription model."
                raise RealtimeRefusal("invalid_value", text, param=name)
        if "prompt" in given and self.model == "gpt-realtime-whisper":
            text = "'prompt' is not supported for this transcription model."
            raise RealtimeRefusal("invalid_value", text, param="prompt")


class TranscribedSession(ServedSession):
    """One connection of a client."""

    settings_class: ClassVar[type[SessionSettings]] = TranscriptionSettings
    _settings: TranscriptionSettings

    def __init__(self, server: OpenAITranscriptionServer, connection: ServerConnection) -> None:
        super().__init__(server, connection)
        self._own = server
        self._fault = server.faults.popleft() if server.faults else SocketFault()
        self._sent = 0
        self._failed = False
        self._speech: HeardSpeech | None = None
        self._item = ""  # the item that is transcribed as the audio comes
        self._streamed: list[str] = []
        self._held: JsonDict | None = None

    async def run(self) -> None:
        """Serve until the client goes."""
        try:
            await super().run()
        finally:
            # What could not be told is said again on the next connection.
            if self._speech is not None:
                self._speech.give_back()

    def check(self, event: JsonDict) -> None:
        """Check an event against its type, and whether such a session knows it.

        Raises:
            RealtimeRefusal: it does not fit.

        """
        super().check(event)
        if event["type"] not in _EVENTS:
            text = f"{event['type']} is not allowed in a transcription session."
            raise RealtimeRefusal("invalid_value", text, param="type")
        if event["type"] == "session.update" and self._own.azure is not None:
            given = event["session"].get("audio", {}).get("input", {}).get("transcription") or {}
            try:
                self._own.azure.check_deployment(given.get("model"))
            except RefusedError as refused:
                raise RealtimeRefusal(refused.code, refused.message) from None

    async def _on_input_audio_buffer_append(self, event: JsonDict) -> None:
        if self._speech is None:
            self._speech = HeardSpeech(self._settings.wire("input"), self._own.texts)
        # Its words have to be there before the turn ends with it.
        self._speech.add(decoded_audio(event))
        await super()._on_input_audio_buffer_append(event)
        if self._settings.streams and self._speech.speaking:
            await self._stream([word.text for word in self._speech.words()])

    async def _stream(self, words: list[str]) -> None:
        """Tell the words that were not told yet."""
        if words and not self._item:
            self._item = self._new_id("item")
        for word in words[len(self._streamed) :]:
            delta = f" {word}" if self._streamed else word
            self._streamed.append(word)
            await self._send(
                f"{_TRANSCRIPTION}.delta", item_id=self._item, content_index=0, delta=delta
            )

    async def _respond(self) -> None:
        """Do nothing: such a session has no answers."""

    async def _commit(self, item_id: str) -> None:
        item_id = self._item or item_id
        length = self._settings.seconds(len(self._buffer))
        self._buffer.clear()
        previous = self._conversation.last_id
        await self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        content = {"type": "input_audio", "transcript": None}
        await self._add({"type": "message", "role": "user", "content": [content]}, item_id)
        words = [word.text for word in self._speech.words()] if self._speech is not None else []
        self._item = item_id
        await self._stream(words)
        self._item, self._streamed = "", []
        place = {"item_id": item_id, "content_index": 0}
        if self._own.failures:
            self._own.failures -= 1
            error = {"type": "server_error", "message": f"Input transcription failed for {item_id}"}
            await self._send(f"{_TRANSCRIPTION}.failed", **place, error=error)
        else:
            usage = self._usage(length, len(words))
            await self._complete({**place, "transcript": " ".join(words), "usage": usage})
        if self._speech is not None and not self._failed:
            self._speech.take()

    async def _complete(self, completed: JsonDict) -> None:
        held, self._held = self._held, None
        if self._own.swaps and held is None:
            self._held = completed
            return
        await self._send(f"{_TRANSCRIPTION}.completed", **completed)
        if held is not None:
            await self._send(f"{_TRANSCRIPTION}.completed", **held)

    def _usage(self, seconds: float, words: int) -> JsonDict:
        if self._settings.streams:
            return {"type": "duration", "seconds": seconds}
        heard = round(seconds * 10)
        return {
            "type": "tokens",
            "input_tokens": heard,
            "output_tokens": words,
            "total_tokens": heard + words,
        }

    def _shown_settings(self) -> JsonDict:
        return {**super()._shown_settings(), "object": "realtime.transcription_session"}

    async def _send(self, kind: str, **values: Any) -> None:
        fault = self._fault
        if fault.delay:
            await asyncio.sleep(fault.delay)
        # The set-up does not count.
        counts = not kind.startswith("session.")
        self._sent += counts
        if self._failed or (counts and fault.then is not None and self._sent > fault.after):
            if not self._failed:
                self._failed = True
                await self._fail(fault)
            return
        await super()._send(kind, **values)

    async def _fail(self, fault: SocketFault) -> None:
        match fault.then:
            case "disconnect":
                await self.drop()
            case "malformed":
                await self._connection.send('{"type":"error","error":')
            case "expire":
                message = "Your session hit the maximum duration of 60 minutes."
                error = {
                    "type": "invalid_request_error",
                    "code": "session_expired",
                    "message": message,
                    "param": None,
                    "event_id": None,
                }
                await super()._send("error", error=error)
                await self._connection.close(1001, message)
            case _:
                pass


class OpenAITranscriptionServer(OpenAIRealtimeServer):
    """Sessions that only transcribe, at ``?intent=transcription``.

    Args:
        *texts: what callers say, one text for each time that they speak.
        faults: how connections fail, one for each; those after them do not.
        failures: the number of items, from the first on, that cannot be transcribed.
        swaps: whether each second item is done before the one before it.
        azure: the resource at Azure that the server is; None is OpenAI's own.

    Attributes:
        texts: what is still to be said.

    """

    session_class: ClassVar[Any] = TranscribedSession

    def __init__(
        self,
        *texts: str,
        faults: Sequence[SocketFault] = (),
        failures: int = 0,
        swaps: bool = False,
        azure: AzureGate | None = None,
    ) -> None:
        super().__init__(azure=azure)
        self.texts = deque(texts)
        self.faults = deque(faults)
        self.failures = failures
        self.swaps = swaps

    def check_query(self, query: dict[str, list[str]]) -> None:
        """Check the parameters of a connection.

        Raises:
            RefusedError: one is unknown, missing or wrong.

        """
        if query != {"intent": ["transcription"]}:
            raise RefusedError(400, f"a transcription has intent=transcription only, not {query}")
        if self.faults and (status := self.faults[0].refuse) is not None:
            self.faults.popleft()
            raise RefusedError(status, "The scripted refusal.")
