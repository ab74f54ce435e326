from collections.abc import Sequence
from typing import Any

import pytest

from mediaserver.records.batches import Batch, moment
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.events import RecordEvent
from mediaserver.records.queries import MEASURES, RecordQuery, find_calls, turns_of
from mediaserver.records.redaction import Redaction
from tests.records.conftest import began, over, turn


START = 1_800_000_000.0
KEY = b"k" * 16


@pytest.fixture
def filled(database: RecordsDatabase) -> RecordsDatabase:
    redacted = {
        form: Redaction(form, key=KEY, transcripts=False).number("+14155550155")
        for form in ("last4", "hash")
    }
    events: list[RecordEvent] = [
        over("a", call_id="ca", stream_id="sa", started_at=START),
        over("b", handler="Menu", cause="handler_error", started_at=START + 1),
        began("c", started_at=START + 2),
        over("d", cause="process_lost", started_at=START + 3),
        over("e", counts={"underruns": 3, "underrun_seconds": 0.5}, started_at=START + 4),
        over("f", loop_lag=0.3, slowest_answer=0.9, started_at=START + 5),
        over("g", caller_key=redacted["last4"].key, started_at=START + 6),
        over("h", called_key=redacted["hash"].key, started_at=START + 7),
        turn("a"),
        turn("a", 1),
        turn("b"),
    ]
    database.write(Batch(events, "j1"))
    return database


def found(database: RecordsDatabase, **wanted: Any) -> str:
    query = RecordQuery(**wanted)
    return "".join(each["id"] for each in find_calls(database, query, newest=False))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, "abcdefgh"),
        ({"number": "sip:14155550199@x.com"}, "abcdefg"),
        ({"number": "+14155550155"}, "g"),
        ({"number": "+14155550155", "key": KEY}, "gh"),
        ({"number": "0155"}, "g"),
        ({"number": "0100"}, "abcdefh"),
        ({"number": "_100"}, ""),
        ({"call": "ca"}, "a"),
        ({"call": "sa"}, "a"),
        ({"call": "b"}, "b"),
        ({"since": moment(START + 6)}, "gh"),
        ({"until": moment(START + 2)}, "ab"),
        ({"handler": "Menu"}, "b"),
        ({"cause": "handler_error"}, "b"),
        ({"state": "live"}, "c"),
        ({"state": "lost"}, "d"),
        ({"state": "ended"}, "abefgh"),
        ({"state": "over"}, "abdefgh"),
        ({"bad": True}, "bdef"),
        ({"worse": {"underruns": 2, "loop_lag": 0.2}}, "ef"),
        ({"worse": {"underruns": 3}}, ""),
        ({"bad": True, "until": moment(START + 4)}, "bd"),
    ],
)
def test_a_query_finds(filled: RecordsDatabase, wanted: dict[str, Any], names: str) -> None:
    assert found(filled, **wanted) == names


def test_the_newest_come_first_and_so_many(filled: RecordsDatabase) -> None:
    calls = list(find_calls(filled, RecordQuery(), most=3))
    assert "".join(call["id"] for call in calls) == "hgf"


def test_calls_behind_another_follow_it_whether_or_not_they_began_with_it(
    filled: RecordsDatabase,
) -> None:
    every = list(find_calls(filled, RecordQuery()))
    for place, call in enumerate(every):
        rest = find_calls(filled, RecordQuery(behind=(call["started_at"], call["id"])))
        assert [each["id"] for each in rest] == [each["id"] for each in every[place + 1 :]]


def test_turns_come_with_their_calls(filled: RecordsDatabase) -> None:
    def positions(turns: Sequence[Any]) -> list[int]:
        return [each["position"] for each in turns]

    own = turns_of(filled, ["a", "b", "c"])
    assert {name: positions(turns) for name, turns in own.items()} == {
        "a": [0, 1],
        "b": [0],
        "c": [],
    }


def test_a_call_can_be_worse_in_what_is_measured() -> None:
    assert {"seconds", "underruns", "loop_lag", "slowest_answer", "tokens_in"} <= set(MEASURES)
    assert not {"id", "caller", "started_at"} & set(MEASURES)
