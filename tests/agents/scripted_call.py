"""Calls to a voice agent whose services answer by a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from audiocodecs import Samples
from mediaserver import Stream, StreamReport, Turn
from mediaserver.agents import VoiceAgent
from mediaserver.agents.services import Text, Transcript
from mediaserver.agents.turns import LevelDetector
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport
from mediaserver.testing import JoinedCall, joined, run_virtual
from mediaserver.testing.services import TimedModel, TimedSpeech, TimedTranscription


def voice(seconds: float) -> Samples:
    """What a caller sounds like to a `LevelDetector`."""
    times = np.arange(round(seconds * 8000)) / 8000
    return (8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16)


class Scripted(VoiceAgent):
    """An agent that remembers what it was told."""

    voice_detector = LevelDetector

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.turns: list[Any] = []
        self.barge_ins: list[Any] = []
        self.transcripts: list[Any] = []
        self.stopped: str | None = None

    async def __call__(self, stream: Stream) -> None:
        stream.shared.append(self)
        await super().__call__(stream)

    async def on_turn(self, turn: Turn) -> None:
        self.turns.append(turn)

    async def on_barge_in(self, confirmed: bool) -> None:
        self.barge_ins.append(confirmed)

    async def on_transcript(self, transcript: Transcript) -> None:
        self.transcripts.append(transcript)

    async def on_stop(self, reason: str) -> None:
        self.stopped = reason


def caller(*steps: float | Samples | str | None) -> Callable[..., Any]:
    """Have the caller wait until a time, speak, press keys, and (None) wait for the call to end."""

    async def script(line: JoinedCall, agent: Any) -> None:
        for step in steps:
            if step is None:
                await line.phone.wait_closed()
            elif isinstance(step, str):
                line.phone.press(step)
            elif isinstance(step, int | float):
                await line.phone.wait_until(step)
            else:
                line.phone.say(step)

    return script


def converse(
    script: Callable[..., Any],
    *,
    hears: list[str] | tuple[()] = (),
    answers: Any = (),
    kind: type[Any] = Scripted,
    stt: Any = None,
    llm: Any = None,
    tts: Any = None,
    control: Any = None,
    raises: bool = True,
    misbehaviour: Any = None,
    **settings: Any,
) -> SimpleNamespace:
    """Run `script(line, agent)` in a call; return what came of it.

    Whatever happens, every request to a service has ended and no task is left.
    """
    stt = stt or TimedTranscription(hears)
    llm = llm or TimedModel(answers)
    tts = tts or TimedSpeech()
    settings = {
        "speech_to_text": stt,
        "language_model": llm,
        "text_to_speech": tts,
        **settings,
    }
    agents: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield agents

    async def main() -> tuple[CallReport, Stream, list[Any], JoinedCall]:
        routes = Routes(Route(kind, settings=settings), lifespan=lifespan)
        phone = {} if misbehaviour is None else {"misbehaviour": misbehaviour}
        async with joined(routes, raises=raises, **phone) as line:
            if control is not None:
                line.stream._control = control
            stream = line.stream
            while not agents:
                await asyncio.sleep(0)
            await script(line, agents[0])
            report = line.phone.report()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return report, stream, left, line

    report, stream, left, line = run_virtual(main())
    assert left == []
    assert (stt.open, llm.open, tts.open) == (0, 0, 0)
    (agent,) = agents
    return SimpleNamespace(
        report=report,
        agent=agent,
        turns=agent.turns,
        messages=agent.conversation.messages,
        said=[(m.role, m.text) for m in agent.conversation.messages if isinstance(m, Text)],
        counters=stream.counters,
        stream=stream,
        line=line,
        stt=stt,
        llm=llm,
        tts=tts,
    )


def earlier_stream(*turns: Turn) -> StreamReport:
    """Return the report of a stream of the same call that was lost."""
    return StreamReport(
        call_id="1",
        stream_id="1",
        caller=None,
        called=None,
        path="/stream",
        started_at=datetime.now(UTC),
        seconds=10.0,
        end_reason="the connection was lost",
        turns=turns,
    )
