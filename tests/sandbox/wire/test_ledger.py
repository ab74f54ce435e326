import pytest

from mediaserver.sandbox.audio.keys import Key
from mediaserver.sandbox.wire.ledger import (
    MAX_TEXTS,
    CallLedger,
    CheckpointReport,
    TimelineEntry,
)


@pytest.fixture
def ledger() -> CallLedger:
    return CallLedger()


def test_checkpoints_are_played_in_order(ledger: CallLedger) -> None:
    ledger.checkpoint_requested(1.0, "a")
    ledger.checkpoint_requested(2.0, "a")
    ledger.checkpoint_played(3.0)
    assert ledger.checkpoints == [
        CheckpointReport("a", 1.0, played=3.0),
        CheckpointReport("a", 2.0),
    ]


def test_a_clear_takes_all_pending_checkpoints_and_no_other(ledger: CallLedger) -> None:
    ledger.checkpoint_requested(1.0, "played")
    ledger.checkpoint_requested(1.0, "cleared")
    ledger.checkpoint_played(2.0)
    ledger.cleared(3.0, 0.5)
    ledger.checkpoint_requested(4.0, "later")
    assert [checkpoint.cleared for checkpoint in ledger.checkpoints] == [None, 3.0, None]
    assert ledger.clears == [(3.0, 0.5)]


def test_a_clear_that_drops_no_audio_silences_nobody(ledger: CallLedger) -> None:
    ledger.cleared(1.0, 0.0)
    assert ledger.clears == []
    assert ledger.entries == [TimelineEntry(1.0, "cleared", "0.00 s dropped")]


def test_keys_both_ways_are_kept_digit_by_digit(ledger: CallLedger) -> None:
    ledger.key_pressed(1.0, "5")
    ledger.digits_received(2.0, "1#")
    assert ledger.keys_pressed == [Key(1.0, "5")]
    assert ledger.dtmf_received == [Key(2.0, "1"), Key(2.0, "#")]
    assert [entry.text for entry in ledger.entries] == ["5", "1#"]


@pytest.mark.parametrize("kind", ["warning", "error"])
def test_each_text_is_counted_and_told_once(ledger: CallLedger, kind: str) -> None:
    for time in (1.0, 2.0):
        getattr(ledger, kind)(time, "odd")
    assert getattr(ledger, f"{kind}s") == {"odd": 2}
    assert ledger.entries == [TimelineEntry(1.0, kind, "odd")]


def test_texts_of_endless_variety_are_kept_within_bounds(ledger: CallLedger) -> None:
    for number in range(MAX_TEXTS + 50):
        ledger.error(1.0, str(number))
    assert len(ledger.errors) == MAX_TEXTS + 1
    assert ledger.errors["others"] == 50
    assert len(ledger.entries) == MAX_TEXTS + 1
