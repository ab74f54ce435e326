import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.trust import tokens
from mediaserver.server.trust.tokens import (
    Claims,
    ResumeClaims,
    TokenError,
    seal,
    unseal,
    unseal_resume,
)


SECRET = "a secret of some length"
CLAIMS = Claims("call-1", "+14155550100", "14155550199", 1_000)


def test_round_trip() -> None:
    assert unseal(seal(CLAIMS, SECRET), SECRET, 999.0) == CLAIMS


@given(
    call_id=st.text(),
    caller=st.none() | st.text(),
    called=st.none() | st.text(),
    expires=st.integers(1, 2**40),
)
def test_any_claims_survive_and_need_no_escaping_in_a_query(
    call_id: str, caller: str | None, called: str | None, expires: int
) -> None:
    claims = Claims(call_id[:100], caller and caller[:100], called and called[:100], expires)
    token = seal(claims, SECRET)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_.")
    assert unseal(token, SECRET, expires - 1) == claims


def test_a_token_runs_out() -> None:
    with pytest.raises(TokenError, match="ran out 5 s ago"):
        unseal(seal(CLAIMS, SECRET), SECRET, 1_005.0)


def test_a_token_runs_out_at_its_last_second() -> None:
    with pytest.raises(TokenError, match="ran out"):
        unseal(seal(CLAIMS, SECRET), SECRET, 1_000.0)


def test_another_secret_is_refused() -> None:
    with pytest.raises(TokenError, match="does not match"):
        unseal(seal(CLAIMS, "another secret"), SECRET, 0.0)


@given(data=st.data())
def test_no_single_changed_character_is_accepted(data: st.DataObject) -> None:
    token = seal(CLAIMS, SECRET)
    index = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda each: each != token[index]))
    with pytest.raises(TokenError):
        unseal(token[:index] + other + token[index + 1 :], SECRET, 0.0)


@given(st.text())
def test_any_text_is_refused_with_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        unseal(text, SECRET, 0.0)


def test_a_token_of_another_form_is_refused_although_signed() -> None:
    body = tokens._encode(b'["only a call id"]')
    forged = f"{body}.{tokens._encode(tokens._mac(body, SECRET))}"
    with pytest.raises(TokenError, match="not in a form"):
        unseal(forged, SECRET, 0.0)


def test_a_token_of_absurd_length_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(TokenError, match="too long"):
        unseal("x" * 5_000, SECRET, 0.0)


def test_an_error_does_not_repeat_the_token() -> None:
    token = seal(CLAIMS, SECRET)
    with pytest.raises(TokenError) as caught:
        unseal(token, "another secret", 0.0)
    assert token not in str(caught.value)


def test_a_token_of_a_version_without_the_process_is_read() -> None:
    body = tokens._encode(b'["call-1","+14155550100","14155550199",1000,"inbound"]')
    older = f"{body}.{tokens._encode(tokens._mac(body, SECRET))}"
    claims = unseal(older, SECRET, 0.0)
    assert (claims.call_id, claims.direction, claims.process) == ("call-1", "inbound", None)


def test_a_token_of_a_version_with_more_in_it_is_read() -> None:
    body = tokens._encode(b'["call-1",null,null,1000,null,"3f9a/2.1",1.5,"new"]')
    newer = f"{body}.{tokens._encode(tokens._mac(body, SECRET))}"
    assert unseal(newer, SECRET, 0.0).process == "3f9a/2.1"


def test_a_stream_token_and_a_resume_token_are_not_read_as_each_other() -> None:
    resume = ResumeClaims(1_000, "call-1", "/stream", "node1/1", 900.0, 1, "https://example.com")
    assert unseal_resume(seal(resume, SECRET), SECRET, 999.0) == resume
    with pytest.raises(TokenError, match="not in a form that this version reads"):
        unseal(seal(resume, SECRET), SECRET, 0.0)
    with pytest.raises(TokenError, match="not in a form that this version reads"):
        unseal_resume(seal(Claims("resume", None, None, 1_000), SECRET), SECRET, 0.0)
    with pytest.raises(TokenError, match="it ran out 5 s ago"):
        unseal_resume(seal(resume, SECRET), SECRET, 1_005.0)
