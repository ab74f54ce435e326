import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.records.redaction import (
    NumberForm,
    RecordedNumber,
    Redaction,
    search_keys,
    storable,
)


def redaction(numbers: NumberForm) -> Redaction:
    return Redaction(numbers, key=b"k" * 16, transcripts=False)


@pytest.mark.parametrize("numbers", ["whole", "last4", "hash"])
@pytest.mark.parametrize("written", ["14155550100", "+1 415-555-0100", "sip:14155550100@x.com"])
def test_a_number_is_found_in_any_form_however_it_is_recorded(
    numbers: NumberForm, written: str
) -> None:
    recorded = redaction(numbers).number(written)
    assert recorded.key in search_keys("+14155550100", b"k" * 16)
    assert recorded.key not in search_keys("+14155550177", b"k" * 16)


def test_a_whole_number_is_recorded_as_it_was_written() -> None:
    assert redaction("whole").number("+14155550100") == ("+14155550100", "14155550100")


def test_of_the_last_four_digits_nothing_else_is_recorded() -> None:
    assert redaction("last4").number("+14155550100") == ("…0100", "…0100")
    assert redaction("last4").number("sip:alice@example.com") == ("…lice", "…lice")


def test_a_hash_depends_on_the_key() -> None:
    one = redaction("hash").number("+14155550100")
    other = Redaction("hash", key=b"other", transcripts=False).number("+14155550100")
    assert one.shown is not None
    assert one.shown.startswith("#")
    assert "0100" not in one.shown
    assert one != other


def test_a_number_that_is_not_known_is_not_recorded() -> None:
    assert redaction("hash").number(None) == RecordedNumber(None, None)
    assert redaction("whole").number("") == RecordedNumber(None, None)


def test_without_the_key_hashes_are_not_looked_for() -> None:
    assert search_keys("+14155550100", None) == ["14155550100", "…0100"]


@given(st.text(st.characters(exclude_categories=[]), max_size=30))
def test_what_is_stored_can_be_stored(text: str) -> None:
    stored = storable(text, 20)
    assert len(stored) <= 20
    assert "\0" not in stored
    stored.encode()


def test_a_short_text_is_stored_as_it_is() -> None:
    assert storable("Zoë said: 你好", 20) == "Zoë said: 你好"
