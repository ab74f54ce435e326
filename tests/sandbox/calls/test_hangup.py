from __future__ import annotations

import pytest

from mediaserver.sandbox.calls import hangup
from mediaserver.sandbox.calls.hangup import (
    INVALID_XML,
    NO_ANSWER,
    NORMAL,
    UNREACHABLE,
    Hangup,
    HangupCause,
    HangupSource,
)
from tests.sandbox.conftest import call_record


@pytest.mark.parametrize(
    ("direction", "answered", "status"),
    [
        ("outbound", None, "no-answer"),
        ("outbound", 1.0, "completed"),
        ("inbound", None, "completed"),
        ("inbound", 1.0, "completed"),
    ],
)
def test_only_an_outbound_call_can_end_unanswered(
    direction: str, answered: float | None, status: str
) -> None:
    record = call_record(direction=direction, answered=answered)
    Hangup(NO_ANSWER, HangupSource.CARRIER).note(record)

    assert record.status == status


def test_the_record_has_plivos_words_and_the_older_ones() -> None:
    record = call_record(answered=1.0)
    Hangup(NORMAL, HangupSource.API_REQUEST).note(record)

    assert (record.hangup_cause_code, record.hangup_cause_name) == (4000, "Normal Hangup")
    assert (record.hangup_cause, record.hangup_source) == ("NORMAL_CLEARING", "API Request")


def test_every_cause_has_its_own_code_and_name() -> None:
    causes = [each for each in vars(hangup).values() if isinstance(each, HangupCause)]
    causes += [*UNREACHABLE.values(), *INVALID_XML.values()]

    assert len({each.code for each in causes}) == len({each.name for each in causes}) == len(causes)
