"""What both variants of plivo-stream-sdk do with a call: echo it, and obey keys.

`*` sets a checkpoint; once it was played, ten seconds are played and cleared. `#` ends the echo.
Other keys are only reported.
"""

from __future__ import annotations

from plivo_stream.base import BaseStreamingHandler
from plivo_stream.types import (
    ClearedAudioEvent,
    DtmfEvent,
    MediaEvent,
    MediaFormat,
    PlayedStreamEvent,
    StartEvent,
)

from audiocodecs import AudioFormat
from interop.servers.report import report
from interop.sound import greeting


class SdkCall:
    """One call of the SDK.

    Args:
        handler: The SDK's handler of the connection.

    """

    def __init__(self, handler: BaseStreamingHandler) -> None:
        self._handler = handler
        self._format = MediaFormat(encoding="audio/x-mulaw", sample_rate=8000)
        self._tracks: set[str] = set()
        self._echoing = True
        handler.on_start(self._started)
        handler.on_media(self._heard)
        handler.on_dtmf(self._pressed)
        handler.on_played_stream(self._played)
        handler.on_cleared_audio(self._cleared)
        handler.on_disconnected(self._disconnected)
        handler.on_error(self._failed)

    async def _started(self, event: StartEvent) -> None:
        start = event.start
        self._format = start.media_format
        await report(
            "start",
            call=start.call_id,
            stream=start.stream_id,
            account=start.account_id,
            tracks=start.tracks,
            encoding=self._format.encoding,
            rate=self._format.sample_rate,
            extra_headers=event.extra_headers,
        )
        content_type = f"{self._format.encoding};rate={self._format.sample_rate}"
        await self._play(greeting(AudioFormat.parse(content_type)))

    async def _heard(self, event: MediaEvent) -> None:
        if event.media.track not in self._tracks:
            self._tracks.add(event.media.track)
            await report("track", stream=event.stream_id, track=event.media.track)
        if self._echoing and event.get_raw_media is not None:
            await self._play(event.get_raw_media())

    async def _pressed(self, event: DtmfEvent) -> None:
        digit = event.dtmf.digit
        if digit == "*":
            await self._handler.send_checkpoint("so far")
        elif digit == "#":
            self._echoing = False
        await report("key", stream=event.stream_id, digit=digit)

    async def _played(self, event: PlayedStreamEvent) -> None:
        await report("played", stream=event.stream_id, name=event.name)
        await self._play(b"\xff" * 10 * self._format.sample_rate)
        await self._handler.send_checkpoint("never reached")
        await self._handler.send_clear_audio()

    async def _cleared(self, event: ClearedAudioEvent) -> None:
        await report("cleared", stream=event.stream_id)

    async def _disconnected(self) -> None:
        await report("disconnected", stream=self._handler.get_stream_id())

    async def _failed(self, error: Exception) -> None:
        await report("error", stream=self._handler.get_stream_id(), error=repr(error))

    async def _play(self, audio: bytes) -> None:
        # Messages of at most 16,000 bytes before base64.
        for start in range(0, len(audio), 8_000):
            await self._handler.send_media(
                audio[start : start + 8_000], self._format.encoding, self._format.sample_rate
            )
