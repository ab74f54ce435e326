"""Speech recognition behind OpenAI's transcription endpoint, at OpenAI, Groq, vLLM and others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Unpack

import msgspec

from audiocodecs import AudioFormat, encode_wav
from mediaserver.agents.services.deadlines import require_seconds
from mediaserver.agents.services.event_stream import DONE
from mediaserver.agents.services.openai.client import Connection, OpenAIService, Response
from mediaserver.agents.services.speech_to_text import Transcript
from mediaserver.call import Frame


class _Transcription(msgspec.Struct):
    text: str


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None


class _Event(msgspec.Struct):
    """An event of OpenAI; or of vLLM, which sends those of a chat."""

    type: str = ""
    delta: str | None = None
    text: str | None = None
    choices: list[_Choice] | None = None
    error: Any = None

    def added(self) -> str:
        if self.type == "transcript.text.delta":
            return self.delta or ""
        return "".join(
            (choice.delta and choice.delta.content) or "" for choice in self.choices or ()
        )


_decode_transcription = msgspec.json.Decoder(_Transcription).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class OpenAITranscription(OpenAIService):
    """A `SpeechToText` that uploads each utterance when it has ended.

    Args:
        model: the model's name at the server.
        language: the caller's language in ISO 639-1, such as ``"en"``; None lets the model detect
            it.
        prompt: words that may come up, such as names and products.
        stream: whether to ask for the text as it is written. A server that does not support it may
            answer at once.
        shortest: the shortest utterance that is sent, in seconds. OpenAI refuses less than 0.1 s.
        extra: further fields of the request: ``{"temperature": 0}``.
        first_timeout: seconds from the end of the utterance until the answer begins, including
            retries.
        stall_timeout: seconds for which the answer may pause.
        connection: see `OpenAIClient`.

    """

    _service = "openai_transcription"
    _own = frozenset({"file", "model", "language", "prompt", "stream", "response_format"})

    def __init__(
        self,
        model: str = "gpt-transcribe",
        *,
        language: str | None = None,
        prompt: str | None = None,
        stream: bool = False,
        shortest: float = 0.1,
        extra: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float = 4.0,
        **connection: Unpack[Connection],
    ) -> None:
        require_seconds(shortest=shortest)
        super().__init__(model, extra, first_timeout, stall_timeout, connection)
        self._request: dict[str, Any] = {"model": model}
        if language is not None:
            self._request["language"] = language
        if prompt is not None:
            self._request["prompt"] = prompt
        if stream:
            self._request["stream"] = True
        self._shortest = shortest

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncGenerator[Transcript, None]:
        """Yield the text as it is written, if ``stream`` is set, and then the final text.

        Closing the iterator, or cancelling the task that waits on it, ends the request.

        Raises:
            ServiceError: the service failed.

        """
        payloads: list[bytes] = []
        format: AudioFormat | None = None
        async for frame in speech:
            format = frame.format
            payloads.append(frame.payload)
        payload = b"".join(payloads)
        seconds = format.seconds(payload) if format is not None else 0.0
        if format is None or seconds < self._shortest:
            yield Transcript("", final=True)
            return
        # Every server reads 16-bit PCM, and resamples it.
        wav = encode_wav(format.decode(payload), format.rate)
        texts = self._in_time(self._texts(wav))
        async with aclosing(texts):
            async for text, final in texts:
                yield Transcript(text.strip(), final, seconds if final else 0.0)

    async def _texts(self, wav: bytes) -> AsyncGenerator[tuple[str, bool], None]:
        """Yield the text so far, and whether it is final."""
        with self._client.failures(self._model):
            transcriptions = self._client.get().audio.transcriptions.with_streaming_response
            async with transcriptions.create(
                file=("speech.wav", wav, "audio/wav"), **self._request, extra_body=self._extra
            ) as response:
                kind = await self._client.require_content(
                    response, "application/json", "text/event-stream"
                )
                if kind == "application/json":
                    yield _decode_transcription(await response.read()).text, True
                    return
                async with aclosing(self._streamed(response)) as texts:
                    async for text in texts:
                        yield text

    async def _streamed(self, response: Response) -> AsyncGenerator[tuple[str, bool], None]:
        text = ""
        whole: str | None = None
        async for data in self._client.events(response):
            if data == DONE:
                whole = text if whole is None else whole
                break
            event = _decode_event(data)
            if event.error is not None:
                raise self._client.failure(f"an error in the answer: {event.error}")
            if event.type == "transcript.text.done":
                whole = text if event.text is None else event.text
            elif added := event.added():
                text += added
                yield text, False
        if whole is None:
            raise self._client.failure("the answer broke off")
        yield whole, True
