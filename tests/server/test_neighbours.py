import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.plivo.callbacks import CallbackError, HangupRequest, StreamStatusRequest
from mediaserver.server.neighbours import Alone, ToldWebhook, kind_and_fields, told_webhook


HANGUP = HangupRequest.parse({"CallUUID": "call-1", "HangupCauseCode": "4000"})
STATUS = StreamStatusRequest.parse(
    {"CallUUID": "call-1", "StreamID": "stream-1", "Event": "PlayedStream", "Name": "a"}
)


@pytest.mark.parametrize("webhook", [HANGUP, STATUS])
def test_a_webhook_is_the_same_at_the_neighbour(webhook: ToldWebhook) -> None:
    assert told_webhook(*kind_and_fields(webhook)) == webhook


def test_what_is_a_hangup_by_its_path_alone_is_one_at_the_neighbour_too() -> None:
    webhook = HangupRequest.parse({"CallUUID": "call-1"})
    assert isinstance(told_webhook(*kind_and_fields(webhook)), HangupRequest)


@given(fields=st.dictionaries(st.text(), st.text()))
def test_any_fields_are_a_webhook_of_that_kind_or_an_error_that_can_be_caught(
    fields: dict[str, str],
) -> None:
    for kind in ("hangup", "status"):
        with contextlib.suppress(CallbackError):
            assert kind_and_fields(told_webhook(kind, fields))[0] == kind


def test_an_unknown_kind_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(CallbackError, match="one of hangup, status, not 'answer'"):
        told_webhook("answer", {"CallUUID": "call-1"})


def test_a_process_without_neighbours_tells_nobody() -> None:
    alone: Any = Alone()
    assert alone.tell(HANGUP) is alone.used("1") is alone.released("1") is None
