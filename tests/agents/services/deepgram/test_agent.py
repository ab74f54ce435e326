"""Calls to a voice agent that hears and speaks with Deepgram."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import RecognizerSession, VoiceSession
from mediaserver.agents.services.deepgram.aura import DeepgramVoice
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.testing import JoinedCall
from mediaserver.testing.deepgram import DeepgramFault, DeepgramServer
from tests.agents.scripted_call import caller, converse, voice


class Local:
    """A recogniser or a voice with a server in the loop of the call."""

    name = "deepgram"

    def __init__(self, kind: Any, *texts: str, faults: tuple[DeepgramFault, ...] = ()) -> None:
        self._kind = kind
        self._server = DeepgramServer(*texts, faults=faults)
        self._running = AsyncExitStack()

    async def listen(self, format: AudioFormat) -> RecognizerSession:
        session: RecognizerSession = await (await self._service()).listen(format)
        return session

    async def connect(self, format: AudioFormat) -> VoiceSession:
        session: VoiceSession = await (await self._service()).connect(format)
        return session

    async def _service(self) -> Any:
        if not self._server.base_url:
            await self._running.enter_async_context(self._server.running())
        return self._kind(base_url=self._server.base_url, api_key=self._server.api_key)

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


TEN = "One two three four five six seven eight nine ten."


STALLS = DeepgramFault(after=70, then="stall")


@pytest.mark.parametrize("faults", [(), (STALLS, STALLS)], ids=["well", "no Cleared"])
def test_two_turns_are_spoken_by_aura_and_the_first_is_interrupted(faults: Any) -> None:
    """The second is spoken even if Aura has stalled, and answers no ``Clear``."""
    mouth = Local(DeepgramVoice, faults=faults)
    steps = caller(3.0, voice(1.0), 7.0, voice(1.2), 14.0)

    async def script(line: JoinedCall, agent: Any) -> None:
        await steps(line, agent)
        await line.phone.hang_up()
        await mouth.stop()

    call = converse(
        script,
        hears=["What is up?", "Wait a moment, please."],
        answers=[f"{TEN} {TEN}", "Of course."],
        tts=mouth,
        greeting="Hello there.",
    )
    roles = [role for role, _ in call.said]
    assert roles == ["assistant", "user", "assistant", "user", "assistant"]
    assert call.said[0] == ("assistant", "Hello there.")
    assert call.said[-1] == ("assistant", "Of course.")
    heard = call.said[2][1]
    assert 0 < len(heard) < len(f"{TEN} {TEN}")
    assert f"{TEN} {TEN}".startswith(heard)
    assert call.agent.barge_ins == [True]
    assert len(call.report.agent_speech) == 3
    assert call.counters.turns.failures == ({"deepgram": 1} if faults else {})
