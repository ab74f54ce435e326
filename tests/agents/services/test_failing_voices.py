"""Each voice over a connection that fails: another one speaks the rest, and no word twice."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

import pytest

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError, VoiceSession
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.agents.services.deepgram.aura import DeepgramVoice
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.known import KNOWN_SERVICES
from mediaserver.agents.services.sarvam.voice import SarvamVoice
from mediaserver.agents.services.xai.voice import XAIVoice
from mediaserver.testing import JoinedCall, in_virtual_time
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.deepgram import DeepgramServer
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.sarvam import BulbulServer
from mediaserver.testing.services import WORD_SECONDS, Timing
from mediaserver.testing.socket_server import SocketFault
from mediaserver.testing.voice_server import VoiceFault
from mediaserver.testing.xai import XAIVoiceServer
from tests.agents.scripted_call import caller, converse, voice


class Local(NamedTuple):
    voice: Callable[..., Any]
    server: Callable[..., Any]


VOICES = {
    "DeepgramVoice": Local(DeepgramVoice, DeepgramServer),
    "ElevenLabsVoice": Local(partial(ElevenLabsVoice, "anna"), ElevenLabsServer),
    "CartesiaVoice": Local(partial(CartesiaVoice, "anna"), CartesiaServer),
    "XAIVoice": Local(partial(XAIVoice, "ara"), XAIVoiceServer),
    "SarvamVoice": Local(partial(SarvamVoice, "en-IN"), BulbulServer),
}
each = pytest.mark.parametrize("name", VOICES)


class Mouth:
    """A voice with a server in the loop of the call, whose first two connections fail.

    The first one speaks the phrases, which are too short for that; the second is the call's.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._kind: Any = kind
        self.open = 0
        self._local = VOICES[name]
        self._running = AsyncExitStack()
        self.server: Any = None

    async def connect(self, format: AudioFormat) -> VoiceSession:
        if self.server is None:
            if self._local.server is DeepgramServer:
                then = {"limit": "expire"}.get(self._kind, self._kind)
                self.server = DeepgramServer(faults=(SocketFault(after=40, then=then),) * 2)
                await self._running.enter_async_context(self.server.running())
            else:
                fault = VoiceFault(self._kind, after=5, connections=2)
                self.server = self._local.server(fault=fault, timing=Timing(0.1, 0.1))
                await self._running.enter_async_context(self.server)
        made = self._local.voice(base_url=self.server.base_url, api_key=self.server.api_key)
        session: VoiceSession = await made.connect(format)
        return session

    async def stop(self) -> None:
        await self._running.aclose()


TEN = "One two three four five six seven eight nine ten."


def test_every_known_voice_is_here() -> None:
    known = [service.name for made in KNOWN_SERVICES.values() for service in made.services]
    assert {name for name in known if name.endswith("Voice")} == set(VOICES)


@each
@pytest.mark.parametrize("kind", ["stall", "disconnect", "limit"])
def test_an_answer_is_spoken_whole(name: str, kind: str) -> None:
    mouth = Mouth(name, kind)
    steps = caller(3.0, voice(1.0), 17.0)

    async def script(line: JoinedCall, agent: Any) -> None:
        await steps(line, agent)
        await line.phone.hang_up()
        await mouth.stop()

    call = converse(
        script, hears=["What is up?"], answers=[TEN], tts=mouth, greeting="Hello there."
    )
    assert [text for _, text in call.said] == ["Hello there.", "What is up?", TEN]
    assert call.counters.turns.failures.total() == 1
    _, *answer = call.report.agent_speech
    assert sum(end - start for start, end in answer) == pytest.approx(10 * WORD_SECONDS, abs=0.15)


@each
@pytest.mark.parametrize(
    ("status", "kind"), [(401, MisconfiguredServiceError), (429, ServiceError)]
)
@in_virtual_time
async def test_a_refused_connection_says_its_status(
    name: str, status: int, kind: type[ServiceError]
) -> None:
    local = VOICES[name]
    async with AsyncExitStack() as running:
        server: Any
        if local.server is DeepgramServer:
            server = DeepgramServer(faults=(SocketFault(refuse=status),))
            await running.enter_async_context(server.running())
        else:
            server = await running.enter_async_context(local.server())
            server.refuse(status)
        made = local.voice(base_url=server.base_url, api_key=server.api_key)
        with pytest.raises(ServiceError, match=f"with {status}") as refused:
            await made.connect(MULAW_8K)
    assert type(refused.value) is kind
    assert refused.value.status == status
