"""Calls to a voice agent that hears with Cartesia."""

from typing import Any

import pytest

from mediaserver.agents.services.cartesia.ink import CartesiaRecognizer, InkTurnsRecognizer
from mediaserver.testing.ink import InkServer
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


@pytest.mark.parametrize("kind", [CartesiaRecognizer, InkTurnsRecognizer])
def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted(kind: Any) -> None:
    assert_call_is_heard(LocalService(kind, InkServer(*HEARD)))
