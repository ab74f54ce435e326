"""Calls to a voice agent that hears and speaks with Deepgram."""

from typing import Any

import pytest

from mediaserver.agents.services.deepgram.aura import DeepgramVoice
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.testing import JoinedCall
from mediaserver.testing.deepgram import DeepgramFault, DeepgramServer
from tests.agents.scripted_call import caller, converse, voice
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


@pytest.mark.parametrize("kind", [DeepgramRecognizer, FluxRecognizer])
def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted(kind: Any) -> None:
    assert_call_is_heard(LocalService(kind, DeepgramServer(*HEARD)))


TEN = "One two three four five six seven eight nine ten."


STALLS = DeepgramFault(after=70, then="stall")


@pytest.mark.parametrize("faults", [(), (STALLS, STALLS)], ids=["well", "no Cleared"])
def test_two_turns_are_spoken_by_aura_and_the_first_is_interrupted(faults: Any) -> None:
    """The second is spoken even if Aura has stalled, and answers no ``Clear``."""
    mouth = LocalService(DeepgramVoice, DeepgramServer(faults=faults))
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
