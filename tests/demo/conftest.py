"""The demo's scene, and calls that play it in virtual time."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from mediaserver import Frame, Handler
from mediaserver.agents.services import SpeechToText, Transcript
from mediaserver.demo.agent import AgentNotes, Receptionist
from mediaserver.demo.command import hold_call
from mediaserver.demo.moment import Moment
from mediaserver.demo.scene import Scene
from mediaserver.handler import StreamHandler
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport
from mediaserver.testing import joined, run_virtual


Performed: TypeAlias = tuple[Scene, list[Moment], CallReport]
Perform: TypeAlias = Callable[..., Performed]


class Recalled:
    """Recognises each utterance once, however many calls it is said in."""

    def __init__(self, speech_to_text: SpeechToText) -> None:
        self.inner = speech_to_text
        self.known: dict[bytes, list[Transcript]] = {}

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncIterator[Transcript]:
        frames = [frame async for frame in speech]

        async def again() -> AsyncIterator[Frame]:
            for frame in frames:
                yield frame

        said = b"".join(frame.payload for frame in frames)
        if said not in self.known:
            self.known[said] = [each async for each in self.inner.transcribe(again())]
        for transcript in self.known[said]:
            yield transcript


@pytest.fixture(scope="session")
def scene() -> Scene:
    spoken = Scene.spoken()
    return replace(spoken, speech_to_text=Recalled(spoken.speech_to_text))


@pytest.fixture(scope="session")
def perform(scene: Scene) -> Perform:
    """Play the scene with an agent, by default the right one: its scene, moments and report."""

    def perform(handler: StreamHandler | type[Handler] | None = None, **changes: Any) -> Performed:
        performance = replace(scene, notes=AgentNotes())
        routes = performance.routes
        if handler is not None or changes:
            agent = handler or routes.routes[0].handler
            is_receptionist = isinstance(agent, type) and issubclass(agent, Receptionist)
            settings = {**performance.settings, **changes} if is_receptionist else {}
            routes = Routes(Route(agent, settings=settings))
        moments: list[Moment] = []

        async def call() -> CallReport:
            async with joined(routes, start=False) as line:
                return await hold_call(performance, line.phone, moments.append)

        return performance, moments, run_virtual(call())

    return perform


@pytest.fixture(scope="session")
def performed(perform: Perform) -> Performed:
    """The scene as it should be."""
    return perform()
