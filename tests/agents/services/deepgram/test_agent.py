"""Calls to a voice agent that hears with Deepgram."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import RecognizerSession
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.testing import JoinedCall
from mediaserver.testing.deepgram import DeepgramServer
from tests.agents.scripted_call import caller, converse, voice


class Local:
    """A recogniser with a server in the loop of the call."""

    name = "deepgram"

    def __init__(self, kind: Any, *texts: str) -> None:
        self._kind = kind
        self._server = DeepgramServer(*texts)
        self._running = AsyncExitStack()

    async def listen(self, format: AudioFormat) -> RecognizerSession:
        if not self._server.base_url:
            await self._running.enter_async_context(self._server.running())
        ears = self._kind(base_url=self._server.base_url, api_key=self._server.api_key)
        session: RecognizerSession = await ears.listen(format)
        return session

    @property
    def open(self) -> int:
        return self._server.open

    async def stop(self) -> None:
        assert self._server.refusals == []
        await self._running.aclose()


@pytest.mark.parametrize("kind", [DeepgramRecognizer, FluxRecognizer])
def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted(kind: Any) -> None:
    ears = Local(kind, "What is up?", "Wait a moment, please.")
    steps = caller(2.0, voice(1.0), 5.0, voice(1.2), 12.0)

    async def script(line: JoinedCall, agent: Any) -> None:
        await steps(line, agent)
        await line.phone.hang_up()
        await ears.stop()

    call = converse(
        script,
        stt=ears,
        answers=["One two three four five six seven eight nine ten eleven twelve.", "Of course."],
        greeting="Hello there.",
    )
    said = [text for role, text in call.said if role == "user"]
    assert said == ["What is up?", "Wait a moment, please."]
    assert call.agent.barge_ins
    assert call.said[0] == ("assistant", "Hello there.")
    assert call.said[-1] == ("assistant", "Of course.")
