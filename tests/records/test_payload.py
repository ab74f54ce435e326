import json
from typing import Any

import pytest

from mediaserver.records.batches import Batch
from mediaserver.records.payload import CAUSE_OF_LOST, plain_record, state_of, webhook_body
from tests.records.conftest import over, turn


def row(**more: Any) -> dict[str, Any]:
    return Batch([over(**more)], "j1").over[0]


def test_a_record_is_plain_data_without_the_columns_for_finding_it() -> None:
    plain = plain_record(row())
    assert plain["started_at"] == "2027-01-15T08:00:00.000+00:00"
    assert plain["state"] == "ended"
    assert plain["underruns"] == 0
    assert not {"caller_key", "called_key", "journal"} & set(plain)


def test_a_webhook_has_the_record_and_its_turns() -> None:
    body = json.loads(webhook_body(row(), Batch([turn(heard_words=3)], "j1").turns))
    assert body["type"] == "call.ended"
    assert body["timestamp"] == "2027-01-15T08:00:10.000+00:00"
    assert body["data"]["call_id"] == "c1"
    assert body["data"]["turn_list"][0]["heard_words"] == 3


@pytest.mark.parametrize(
    ("ended_at", "cause", "state"),
    [(None, None, "live"), (1, "plivo", "ended"), (1, CAUSE_OF_LOST, "lost")],
)
def test_a_state_follows_from_the_end(ended_at: Any, cause: Any, state: str) -> None:
    assert state_of({"ended_at": ended_at, "cause": cause}) == state
