"""Each recogniser with a connection that fails: in a call, no word is lost and none comes twice."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError, WordsComplete
from mediaserver.agents.services.assemblyai.recognizer import AssemblyAIRecognizer
from mediaserver.agents.services.cartesia.ink import CartesiaRecognizer, InkTurnsRecognizer
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.agents.services.elevenlabs.recognizer import ElevenLabsRecognizer
from mediaserver.agents.services.known import KNOWN_SERVICES
from mediaserver.agents.services.openai.recognizer import OpenAIRecognizer
from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer
from mediaserver.testing import JoinedCall
from mediaserver.testing.assemblyai import AssemblyAIServer
from mediaserver.testing.deepgram import DeepgramServer
from mediaserver.testing.ink import InkServer
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer
from mediaserver.testing.sarvam import SaarasServer
from mediaserver.testing.scribe import ScribeServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.scripted_call import caller, converse, voice
from tests.agents.services.hearing import hear, spoken, texts, until
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


class Local(NamedTuple):
    recognizer: Callable[..., Any]
    server: Callable[..., Any]

    def reached(self, server: Any) -> Any:
        return self.recognizer(base_url=server.base_url, api_key=server.api_key)


RECOGNIZERS = {
    "DeepgramRecognizer": Local(DeepgramRecognizer, DeepgramServer),
    "FluxRecognizer": Local(FluxRecognizer, DeepgramServer),
    "ElevenLabsRecognizer": Local(ElevenLabsRecognizer, ScribeServer),
    "CartesiaRecognizer": Local(CartesiaRecognizer, InkServer),
    "InkTurnsRecognizer": Local(InkTurnsRecognizer, InkServer),
    "SarvamRecognizer": Local(partial(SarvamRecognizer, "en-IN"), SaarasServer),
    "AssemblyAIRecognizer": Local(AssemblyAIRecognizer, AssemblyAIServer),
    "OpenAIRecognizer": Local(OpenAIRecognizer, OpenAITranscriptionServer),
}
each = pytest.mark.parametrize("name", RECOGNIZERS)


def test_every_known_recognizer_is_here() -> None:
    known = [service.name for made in KNOWN_SERVICES.values() for service in made.services]
    assert {name for name in known if name.endswith("Recognizer")} == set(RECOGNIZERS)


@each
@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_refusal_is_raised_by_listen_and_the_next_connection_may_do(
    name: str, status: int
) -> None:
    local = RECOGNIZERS[name]
    async with local.server(faults=(SocketFault(refuse=status),)).running() as server:
        ears = local.reached(server)
        with pytest.raises(ServiceError, match=f"with {status}: .*The scripted refusal") as refused:
            await ears.listen(MULAW_8K)
        assert isinstance(refused.value, MisconfiguredServiceError) is (status != 429)
        assert refused.value.status == status
        assert server.open == 0
        await (await ears.listen(MULAW_8K)).close()


@each
@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("disconnect", "was lost"),
        ("malformed", "cannot be read|a malformed event"),
        ("expire", r"with 1000|ended the session|[Ss]ession.[Ee]xpired"),
    ],
)
async def test_a_connection_that_fails_is_raised_by_the_events_alone(
    name: str, then: Any, said: str
) -> None:
    local = RECOGNIZERS[name]
    fault = SocketFault(after=1, then=then)
    async with local.server("One two.", faults=(fault,)).running() as server:
        ears = local.reached(server)
        session = await ears.listen(MULAW_8K)
        await hear(session, spoken(2, 0.3))
        with pytest.raises(ServiceError, match=said):
            await until(session.events(), WordsComplete)
        await hear(session, spoken(1, 0.0))
        await session.finish()
        await session.close()
        replacement = await ears.listen(MULAW_8K)
        await hear(replacement, spoken(2, 0.3))
        await replacement.finish()
        came = await until(replacement.events(), WordsComplete)
        await replacement.close()
    assert texts(came, final=True) == ["One two."]


@each
@pytest.mark.parametrize(
    "fault",
    [
        SocketFault(refuse=429),
        SocketFault(after=2, then="disconnect"),
        SocketFault(after=3, then="disconnect"),
        SocketFault(after=3, then="expire"),
    ],
    ids=["429", "disconnect 2", "disconnect 3", "session limit"],
)
def test_a_connection_that_fails_costs_the_call_no_word(name: str, fault: SocketFault) -> None:
    local = RECOGNIZERS[name]
    ears = LocalService(local.recognizer, local.server(*HEARD, faults=(fault,)), name)
    assert_call_is_heard(ears)


@each
async def test_a_slow_service_is_waited_for(name: str) -> None:
    local = RECOGNIZERS[name]
    async with local.server("Yes.", faults=(SocketFault(delay=0.1),)).running() as server:
        session = await local.reached(server).listen(MULAW_8K)
        await hear(session, spoken(1, 0.3))
        await session.finish()
        came = await until(session.events(), WordsComplete)
        await session.close()
    assert texts(came, final=True) == ["Yes."]


@each
async def test_a_stalled_session_can_be_closed(name: str) -> None:
    local = RECOGNIZERS[name]
    fault = SocketFault(after=1, then="stall")
    async with local.server("Yes.", faults=(fault,)).running() as server:
        session = await local.reached(server).listen(MULAW_8K)
        await hear(session, spoken(1, 0.3))
        await session.finish()
        told = asyncio.create_task(_all(session))
        await asyncio.sleep(1)
        async with asyncio.timeout(3):
            await session.close()
            await told


# OpenAI answers each commit, and says nothing else of the end of words: there `patience` tells.
@pytest.mark.parametrize("name", sorted(RECOGNIZERS.keys() - {"OpenAIRecognizer"}))
async def test_a_stall_does_not_last_for_the_rest_of_a_call(name: str) -> None:
    local = RECOGNIZERS[name]
    stalls = SocketFault(after=1, then="stall")
    async with local.server("Yes.", faults=(stalls,)).running() as server:
        session = await local.reached(server).listen(MULAW_8K)
        told = asyncio.create_task(_all(session))
        for _ in range(6):
            for frame in spoken(4, 0.8):
                await session.hear(frame)
                await asyncio.sleep(0.02)
            await session.finish()
            await asyncio.sleep(6)
            if told.done():
                break
        told.cancel()
        await session.close()
        with pytest.raises(ServiceError):
            await told


async def _all(session: Any) -> None:
    async for _ in session.events():
        pass


def test_a_stall_is_noticed_if_the_service_should_have_said_something() -> None:
    server = DeepgramServer(*HEARD, faults=(SocketFault(after=3, then="stall"),))
    assert_call_is_heard(LocalService(FluxRecognizer, server), times=(2.0, 7.0, 14.0))


@pytest.mark.parametrize(
    "name", ["DeepgramRecognizer", "CartesiaRecognizer", "ElevenLabsRecognizer"]
)
def test_a_stall_is_noticed_if_words_are_asked_for_twice_without_an_answer(name: str) -> None:
    local = RECOGNIZERS[name]
    stalls = SocketFault(after=1, then="stall")
    ears = LocalService(local.recognizer, local.server("Second.", "Third.", faults=(stalls,)), name)
    steps = caller(2.0, voice(1.0), 10.0, voice(1.0), 22.0, voice(1.0), 32.0)

    async def script(line: JoinedCall, agent: Any) -> None:
        await steps(line, agent)
        await line.phone.hang_up()
        await ears.stop()

    call = converse(script, stt=ears, answers=["Yes."] * 3, greeting="Hello there.")
    heard = [text for role, text in call.said if role == "user"]
    assert heard[-2:] == ["Second.", "Third."]
    assert call.counters.turns.failures.total() == 1
