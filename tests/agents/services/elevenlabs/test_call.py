"""Calls to a voice agent that hears with ElevenLabs."""

import pytest

from mediaserver.agents.services.elevenlabs.recognizer import ElevenLabsRecognizer
from mediaserver.testing.scribe import ScribeServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted() -> None:
    assert_call_is_heard(LocalService(ElevenLabsRecognizer, ScribeServer(*HEARD)))


@pytest.mark.parametrize("after", [2, 3])
def test_a_session_that_is_cut_in_mid_turn_costs_the_call_no_word(after: int) -> None:
    fault = SocketFault(after=after, then="disconnect")
    server = ScribeServer(*HEARD, faults=(fault,))
    assert_call_is_heard(LocalService(ElevenLabsRecognizer, server))
