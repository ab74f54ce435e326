"""Calls to a voice agent that hears with ElevenLabs."""

from mediaserver.agents.services.elevenlabs.recognizer import ElevenLabsRecognizer
from mediaserver.testing.scribe import ScribeServer
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted() -> None:
    assert_call_is_heard(LocalService(ElevenLabsRecognizer, ScribeServer(*HEARD)))
