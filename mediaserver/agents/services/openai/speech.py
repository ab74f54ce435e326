"""Speech synthesis behind OpenAI's speech endpoint, at OpenAI, Groq and others."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, Literal, Unpack, get_args

from audiocodecs import L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.services.audio_body import AudioBody
from mediaserver.agents.services.openai.client import Connection, OpenAIService, Response
from mediaserver.call import Frame


ResponseFormat = Literal["pcm", "wav", "mulaw"]

_COMPRESSED: Final = frozenset(
    {"audio/mpeg", "audio/mp3", "audio/ogg", "audio/opus", "audio/aac", "audio/flac", "audio/mp4"}
)
_RATE: Final = re.compile(r";\s*rate\s*=\s*\"?([0-9]{4,6})", re.IGNORECASE)


class OpenAISpeech(OpenAIService):
    """A `TextToSpeech` that yields speech while it is synthesised.

    Args:
        voice: the voice's name at the server.
        model: the model's name at the server.
        response_format: ``"pcm"`` is 16-bit samples, which every server has; ``"wav"`` is the same
            or mu-law, behind a header that says which; ``"mulaw"``, if the server has it, is the
            telephone's format, and plays without conversion.
        sample_rate: the rate in Hz, for servers that offer a choice. 8000 or 16000 need no
            conversion in a call of that rate. None does not ask; ``"pcm"`` is then taken to be
            24 kHz, as OpenAI's is.
        instructions: how to speak, for models that support it.
        speed: the speed; 1.0 is the voice's own.
        extra: further fields of the request.
        first_timeout: seconds until the first audio, including retries.
        stall_timeout: seconds for which the audio may pause.
        connection: see `OpenAIClient`.

    """

    _service = "openai_speech"
    _own = frozenset({"input", "model", "voice", "response_format", "sample_rate"})

    def __init__(
        self,
        voice: str = "marin",
        *,
        model: str = "gpt-4o-mini-tts",
        response_format: ResponseFormat = "pcm",
        sample_rate: int | None = None,
        instructions: str | None = None,
        speed: float | None = None,
        extra: Mapping[str, Any] | None = None,
        first_timeout: float = 6.0,
        stall_timeout: float = 3.0,
        **connection: Unpack[Connection],
    ) -> None:
        super().__init__(model, extra, first_timeout, stall_timeout, connection)
        self._expected = _expected(response_format, sample_rate)
        if response_format == "mulaw":
            sample_rate = MULAW_8K.rate  # a server's own choice would not be the telephone's
        if sample_rate is not None:
            self._extra["sample_rate"] = sample_rate
        self._request: dict[str, Any] = {
            "model": model,
            "voice": voice,
            "response_format": response_format,
        }
        if instructions is not None:
            self._request["instructions"] = instructions
        if speed is not None:
            self._request["speed"] = speed

    async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Frame, None]:
        """Yield frames of 20 to 100 ms as the audio arrives; the last may be shorter.

        Their format is the one that this object was made with; `format` has no effect.

        Closing the iterator, or cancelling the task that waits on it, ends the request.

        Raises:
            ServiceError: the service failed, or sent audio of another format or something else.

        """
        if not text.strip():
            return
        heard = False
        batches = self._in_time(self._batches(text))
        async with aclosing(batches):
            async for frames in batches:
                for frame in frames:
                    heard = True
                    yield frame
        if not heard:
            raise self._client.failure("no audio came")

    async def _batches(self, text: str) -> AsyncGenerator[list[Frame], None]:
        with self._client.failures(self._model):
            speech = self._client.get().audio.speech.with_streaming_response
            async with speech.create(
                input=text, **self._request, extra_body=self._extra
            ) as response:
                body = AudioBody(await self._announced(response))
                async for received in response.iter_bytes():
                    yield body.feed(received)
                yield body.end()

    async def _announced(self, response: Response) -> AudioFormat | None:
        """Return the format of audio without a header, from the headers of the response."""
        allowed = ("audio/", "application/octet-stream", "")
        kind = await self._client.require_content(response, *allowed)
        if kind in _COMPRESSED:
            asked = self._request["response_format"]
            raise self._client.failure(f"{kind} came instead of {asked}")
        rate = _RATE.search(response.headers.get("content-type", ""))
        if self._expected is None or rate is None:
            return self._expected
        return AudioFormat(self._expected.encoding, int(rate[1]))


def _expected(response_format: ResponseFormat, sample_rate: int | None) -> AudioFormat | None:
    """Return the format of audio without a header; None for WAV, which always has one."""
    allowed = get_args(ResponseFormat)
    if response_format not in allowed:
        raise ValueError(f"response_format must be one of {allowed}, not {response_format!r}")
    if response_format == "mulaw":
        return MULAW_8K if sample_rate is None else AudioFormat("mulaw", sample_rate)
    pcm = L16_24K if sample_rate is None else AudioFormat("l16", sample_rate)
    return pcm if response_format == "pcm" else None
