"""pipecat with the same mock services. It runs in an interpreter that has pipecat installed.

It is set up as in pipecat's examples: its transport for FastAPI with the serializer for Plivo, its
Silero VAD at the rate of the line, so that nothing is resampled, and uvloop. The silence that ends
a turn is as long as for the other agents; all else is pipecat's default.
"""

import asyncio
import sys
import time

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from audiocodecs import mulaw_decode
from benchmarks.servers.mock_timings import (
    ANSWER,
    END_OF_TURN,
    PUBLISHED,
    spoken,
    timed,
    tokens,
)
from benchmarks.servers.options import parse_options
from benchmarks.servers.speech import RATE


app = FastAPI()


@app.get("/healthz")
async def health() -> dict[str, str]:
    """Report that the server is ready."""
    return {}


class MockTranscription(FrameProcessor):
    """Returns the same transcript for every utterance."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame; see pipecat."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            self.create_task(self._transcribe())

    async def _transcribe(self) -> None:
        async for text in timed(["When will my order arrive?"], PUBLISHED.transcript, 0.0):
            await self.push_frame(TranscriptionFrame(text, "caller", str(time.time())))


class MockModel(FrameProcessor):
    """Writes the same answer to everything."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame; see pipecat."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self.create_task(self._respond())
        else:
            await self.push_frame(frame, direction)

    async def _respond(self) -> None:
        await self.push_frame(LLMFullResponseStartFrame())
        first = PUBLISHED.first_token + PUBLISHED.token
        async for token in timed(tokens(ANSWER), first, PUBLISHED.token):
            await self.push_frame(LLMTextFrame(token))
        await self.push_frame(LLMFullResponseEndFrame())


class MockSpeech(FrameProcessor):
    """Speaks a sentence once it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame; see pipecat."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame):
            self._text += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame) and self._text:
            self._text = ""
            self.create_task(self._speak())
        else:
            await self.push_frame(frame, direction)

    async def _speak(self) -> None:
        await self.push_frame(TTSStartedFrame())
        async for piece in spoken(PUBLISHED):
            pcm = mulaw_decode(piece).tobytes()
            await self.push_frame(TTSAudioRawFrame(pcm, sample_rate=RATE, num_channels=1))
        await self.push_frame(TTSStoppedFrame())


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """Take a call."""
    await websocket.accept()
    _, call = await parse_telephony_websocket(websocket)
    # pipecat hangs up through Plivo's own address, which cannot be changed; here callers hang up.
    serializer = PlivoFrameSerializer(
        call["stream_id"],
        call["call_id"],
        params=PlivoFrameSerializer.InputParams(auto_hang_up=False),
    )
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, serializer=serializer
        ),
    )
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=END_OF_TURN)))
    services = [MockTranscription(), MockModel(), MockSpeech()]
    worker = PipelineWorker(
        Pipeline([transport.input(), vad, *services, transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
    )

    @transport.event_handler("on_client_disconnected")
    async def gone(transport: FastAPIWebsocketTransport, websocket: WebSocket) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


async def main() -> None:
    """Serve until the process is stopped."""
    options = parse_options()
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    config = uvicorn.Config(
        app, host=options.host, port=options.port, log_level="warning", lifespan="off"
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
