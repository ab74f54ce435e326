"""Calls to a voice agent that hears with AssemblyAI."""

import pytest

from mediaserver.agents.services.assemblyai.recognizer import AssemblyAIRecognizer
from mediaserver.testing.assemblyai import AssemblyAIServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted() -> None:
    assert_call_is_heard(LocalService(AssemblyAIRecognizer, AssemblyAIServer(*HEARD)))


@pytest.mark.parametrize("after", [2, 3])
def test_a_session_that_is_cut_in_mid_turn_costs_the_call_no_word(after: int) -> None:
    fault = SocketFault(after=after, then="disconnect")
    server = AssemblyAIServer(*HEARD, faults=(fault,))
    assert_call_is_heard(LocalService(AssemblyAIRecognizer, server))
