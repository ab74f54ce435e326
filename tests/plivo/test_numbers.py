"""Phone numbers in the forms that Plivo writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.plivo.numbers import NumberError, dialable, digits, phone_key, same_number


NUMBERS = st.from_regex(r"\A[1-9][0-9]{2,14}\Z")


@given(NUMBERS)
def test_a_number_is_the_same_in_all_its_forms(number: str) -> None:
    forms = [
        number,
        f"+{number}",
        f"sip:{number}@phone.plivo.com",
        f"sip:+{number}@10.0.0.1",
        f"sips:%2B{number}@pbx2.example.com:5061;transport=tls",
        f"sip:+{number};phone-context=+1@10.0.0.1",
        f"tel:+{number};ext=7",
        f'"A caller" <sip:{number}@10.0.0.1>',
    ]
    assert {digits(form) for form in forms} == {number}
    assert {phone_key(form) for form in forms} == {number}
    assert all(same_number(one, other) for one in forms for other in forms)


@given(NUMBERS, NUMBERS)
def test_numbers_are_the_same_only_if_their_digits_are(one: str, other: str) -> None:
    assert same_number(f"+{one}", other) is (one == other)


@given(st.text(max_size=30), st.text(max_size=30))
def test_comparing_never_fails_and_has_no_order(one: str, other: str) -> None:
    assert same_number(one, other) is same_number(other, one)


def test_separators_that_people_write_do_not_matter() -> None:
    assert digits(" +1 (415) 555-0100 ") == "14155550100"
    assert dialable("+1.415.555\u00a00100") == "+14155550100"


def test_a_sip_user_that_is_no_number_is_compared_by_name() -> None:
    assert same_number("sip:agent7@Phone.Plivo.com", "SIP:agent7@phone.plivo.com;transport=udp")
    assert not same_number("sip:agent7@phone.plivo.com", "sip:Agent7@phone.plivo.com")
    assert digits("sip:agent7@phone.plivo.com") is None


@pytest.mark.parametrize("text", ["", "anonymous", "+", "0", "sip:", "sip:@"])
def test_what_is_no_number_is_nobodys(text: str) -> None:
    assert digits(text) is None
    assert not same_number(text, text)


def test_a_plus_is_kept_for_dialling() -> None:
    assert dialable("+14155550100") == "+14155550100"
    assert dialable("14155550100") == "14155550100"


def test_a_sip_address_is_dialled_as_it_stands() -> None:
    assert dialable(" sip:john1234@phone.plivo.com ") == "sip:john1234@phone.plivo.com"


@pytest.mark.parametrize(
    "number",
    ["", "02071838750", "+02071838750", "12", "+1234567890123456", "call me", "sip:@host", "sip:x",
     "1415<1416", "+1415555010a", "sip:a@b<c"],
)  # fmt: skip
def test_what_cannot_be_dialled_is_refused_with_what_was_given(number: str) -> None:
    with pytest.raises(NumberError) as caught:
        dialable(number)
    assert repr(number) in str(caught.value)
    assert "+14155550100" in str(caught.value) or "sip:user@host" in str(caught.value)


def test_the_error_shows_only_the_start_of_a_long_text() -> None:
    with pytest.raises(NumberError) as caught:
        dialable("9" * 10_000)
    assert len(str(caught.value)) < 250
