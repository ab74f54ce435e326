"""Calls to a voice agent that hears with AssemblyAI."""

from functools import partial

import pytest

from mediaserver.agents.services.assemblyai.recognizer import AssemblyAIRecognizer
from mediaserver.testing.assemblyai import AssemblyAIServer
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted() -> None:
    assert_call_is_heard(LocalService(AssemblyAIRecognizer, AssemblyAIServer(*HEARD)))


@pytest.mark.parametrize("max_turn_silence", [None, 30.0])
@pytest.mark.parametrize("hears", ["everything", "speech"])
def test_the_agent_may_take_the_turns(hears: str, max_turn_silence: float | None) -> None:
    """It does whether AssemblyAI has ended the turn before, or has not."""
    kind = partial(AssemblyAIRecognizer, max_turn_silence=max_turn_silence)
    kind.name = "assemblyai"  # type: ignore[attr-defined]
    ears = LocalService(kind, AssemblyAIServer(*HEARD))
    assert_call_is_heard(ears, end_of_turn_by="agent", recognizer_hears=hears)
