"""Each voice over a connection that fails: another one speaks the rest, and no word twice."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

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
from tests.agents.services.voices import heard, spoken


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


Failure: TypeAlias = Literal["stall", "disconnect", "malformed", "limit"]


@asynccontextmanager
async def running(
    name: str, failure: Failure | None = None, *, after: int = 5, connections: int = 1
) -> AsyncIterator[Any]:
    """Run the server of a voice, whose first connections fail after some words."""
    if VOICES[name].server is DeepgramServer:
        then: Any = "expire" if failure == "limit" else failure
        faults = (SocketFault(after=8 * after, then=then),) * connections if failure else ()
        async with DeepgramServer(faults=faults).running() as deepgram:
            yield deepgram
        return
    fault = VoiceFault(failure, after, connections) if failure else None
    async with VOICES[name].server(fault=fault, timing=Timing(0.1, 0.1)) as server:
        yield server


def reached(name: str, server: Any) -> Any:
    return VOICES[name].voice(base_url=server.base_url, api_key=server.api_key)


class Mouth:
    """A voice with a server in the loop of the call, whose first two connections fail.

    The first one speaks the phrases, which are too short for that; the second is the call's.
    """

    def __init__(self, name: str, failure: Failure) -> None:
        self.name = name
        self.open = 0
        self._failure: Failure = failure
        self._running = AsyncExitStack()
        self._server: Any = None

    async def connect(self, format: AudioFormat) -> VoiceSession:
        if self._server is None:
            failing = running(self.name, self._failure, connections=2)
            self._server = await self._running.enter_async_context(failing)
        session: VoiceSession = await reached(self.name, self._server).connect(format)
        return session

    async def stop(self) -> None:
        await self._running.aclose()


TEN = "One two three four five six seven eight nine ten."


def test_every_known_voice_is_here() -> None:
    known = [service.name for made in KNOWN_SERVICES.values() for service in made.services]
    assert {name for name in known if name.endswith("Voice")} == set(VOICES)


@each
@pytest.mark.parametrize("failure", ["stall", "disconnect", "limit"])
def test_an_answer_is_spoken_whole(name: str, failure: Failure) -> None:
    mouth = Mouth(name, failure)
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
    async with running(name) as server:
        if isinstance(server, DeepgramServer):
            server.faults.append(SocketFault(refuse=status))
        else:
            server.refuse(status)
        with pytest.raises(ServiceError, match=f"with {status}") as refused:
            await reached(name, server).connect(MULAW_8K)
    assert type(refused.value) is kind
    assert refused.value.status == status


@each
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("disconnect", "was lost"),
        ("malformed", "cannot be read"),
        ("limit", "closed the connection with 1[0-9]{3}: |too long"),
    ],
)
@in_virtual_time
async def test_a_connection_that_fails_is_raised_by_the_speech_alone(
    name: str, failure: Failure, said: str
) -> None:
    async with running(name, failure, after=1) as server:
        session = await reached(name, server).connect(MULAW_8K)
        context = await spoken(session, "Good morning to you.")
        waiting = await spoken(session, "And more.")
        for each in (context, waiting, session.begin()):
            with pytest.raises(ServiceError, match=said):
                await heard(each.speech())
        await context.say("more")
        await context.flush()
        await context.clear()
        await session.close()
