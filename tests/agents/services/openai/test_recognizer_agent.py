"""Calls to a voice agent that hears with OpenAI's recogniser."""

from typing import Any

import pytest

from mediaserver.agents.services.openai.recognizer import OpenAIRecognizer
from mediaserver.testing import JoinedCall
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer
from tests.agents.scripted_call import caller, converse, voice
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


class AfterTheTurn(OpenAIRecognizer):
    def __init__(self, **settings: Any) -> None:
        super().__init__("gpt-transcribe", **settings)


class TakesTurns(OpenAIRecognizer):
    def __init__(self, **settings: Any) -> None:
        super().__init__("gpt-transcribe", turn_detection={"type": "server_vad"}, **settings)


def local(kind: type[OpenAIRecognizer], server: Any) -> LocalService:
    return LocalService(kind, server)


@pytest.mark.parametrize("kind", [OpenAIRecognizer, AfterTheTurn, TakesTurns])
def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted(
    kind: type[OpenAIRecognizer],
) -> None:
    assert_call_is_heard(local(kind, OpenAITranscriptionServer(*HEARD)))


@pytest.mark.parametrize("kind", [OpenAIRecognizer, TakesTurns])
def test_a_session_that_is_lost_in_mid_turn_is_replaced_and_no_word_is_lost(
    kind: type[OpenAIRecognizer],
) -> None:
    server = OpenAITranscriptionServer("What is up?")
    ears = local(kind, server)

    async def script(line: JoinedCall, agent: Any) -> None:
        await caller(2.0, voice(0.9), 2.5)(line, agent)
        await server.sessions[-1].drop()
        await line.phone.wait_until(8.0)
        await line.phone.hang_up()
        await ears.stop()

    call = converse(script, stt=ears, answers=["Not much."], greeting="Hello there.")
    assert [text for role, text in call.said if role == "user"] == ["What is up?"]
    assert len(server.sessions) == 2
