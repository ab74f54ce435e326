import pytest

from mediaserver.protocol import ProtocolError
from mediaserver.protocol.dtmf import checked_digits


def test_all_sixteen_keys_are_digits() -> None:
    assert checked_digits("0123456789*#ABCD") == "0123456789*#ABCD"


def test_lower_case_letters_become_capitals() -> None:
    assert checked_digits("1a2b3c4d") == "1A2B3C4D"


@pytest.mark.parametrize("digits", ["E", "1 2", "12\n", "+1", "٣", "²", "ß", "-1"])
def test_other_characters_are_refused(digits: str) -> None:
    with pytest.raises(ProtocolError, match="0-9") as caught:
        checked_digits(digits)
    assert caught.value.reason == "bad_value"


@pytest.mark.parametrize("digits", ["1w2", "1W2"])
def test_a_pause_is_refused_in_words(digits: str) -> None:
    with pytest.raises(ProtocolError, match="pauses"):
        checked_digits(digits)
