"""A voice agent of pipecat: repeats what was said, and falls silent when it is interrupted."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    VADUserStartedSpeakingFrame,
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

from interop.servers.asgi import serve
from interop.servers.report import report


PRELUDE_BYTES = 48_000
"""Audio kept from before speech was detected: 1.5 seconds at 16 kHz."""

app = FastAPI()


class Echo(FrameProcessor):
    """Repeats each utterance once it is over; new speech interrupts the repetition."""

    def __init__(self) -> None:
        super().__init__()
        self._said = bytearray()
        self._speaking = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame; see pipecat."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._said += frame.audio
            if not self._speaking:
                del self._said[:-PRELUDE_BYTES]
            return
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._speaking = True
            await self.broadcast_interruption()
        elif isinstance(frame, InterruptionFrame):
            await report("interrupted")
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._speaking = False
            said, self._said = bytes(self._said), bytearray()
            await report("utterance", seconds=len(said) / 32_000)
            await self.push_frame(OutputAudioRawFrame(said, sample_rate=16_000, num_channels=1))


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """Take a call."""
    await websocket.accept()
    provider, call = await parse_telephony_websocket(websocket)
    await report("start", provider=provider, call=call["call_id"], stream=call["stream_id"])
    # pipecat hangs up through Plivo's own address, which cannot be changed; here the person does.
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
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.8)))
    worker = PipelineWorker(
        Pipeline([transport.input(), vad, Echo(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=16_000),
    )

    @transport.event_handler("on_client_disconnected")
    async def gone(transport: FastAPIWebsocketTransport, websocket: WebSocket) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    await report("finished")


if __name__ == "__main__":
    serve(app)
