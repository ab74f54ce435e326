"""Calls to a voice agent that hears with Cartesia."""

from typing import Any

import pytest

from mediaserver.agents.services.cartesia.ink import CartesiaRecognizer, InkTurnsRecognizer
from mediaserver.testing.ink import InkServer
from mediaserver.testing.socket_server import SocketFault
from tests.agents.services.local_service import HEARD, LocalService, assert_call_is_heard


@pytest.mark.parametrize("kind", [CartesiaRecognizer, InkTurnsRecognizer])
def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted(kind: Any) -> None:
    assert_call_is_heard(LocalService(kind, InkServer(*HEARD)))


@pytest.mark.parametrize("kind", [CartesiaRecognizer, InkTurnsRecognizer])
def test_a_session_that_is_cut_in_mid_turn_costs_the_call_no_word(kind: Any) -> None:
    fault = SocketFault(after=2, then="disconnect")
    assert_call_is_heard(LocalService(kind, InkServer(*HEARD, faults=(fault,))))
