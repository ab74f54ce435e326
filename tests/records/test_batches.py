from mediaserver.records.batches import COUNTS, UNITS, Batch, moment
from tests.records.conftest import began, over, turn


def test_a_call_that_is_over_needs_no_row_for_its_beginning() -> None:
    batch = Batch([began("a"), began("b"), over("a")], "j1")
    assert [row["id"] for row in batch.began] == ["b"]
    assert [row["id"] for row in batch.over] == ["a"]


def test_a_row_has_the_journal_and_every_count() -> None:
    event = over(counts={"underruns": 2}, usage={"tokens_in": 7})
    (row,) = Batch([event], "j1").over
    assert row["journal"] == "j1"
    assert (row["underruns"], row["frames_lost"]) == (2, 0)
    assert (row["tokens_in"], row["tokens_out"]) == (7, 0)
    assert {*COUNTS, *UNITS} <= set(row)
    assert row["ended_at"] == moment(1_800_000_010.0)


def test_a_turn_is_a_row_of_its_own() -> None:
    (row,) = Batch([turn(position=3, first_token=0.4)], "j1").turns
    assert (row["record"], row["position"], row["first_token"]) == ("r1", 3, 0.4)


def test_a_batch_without_events_is_empty() -> None:
    assert not Batch([], "j1")
    assert Batch([turn()], "j1")
