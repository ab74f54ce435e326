from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mediaserver.sandbox.account import Account, RateLimiter, new_auth_id


ACCOUNT = Account("MAXXXXXXXXXXXXXXXXXX", SecretStr("token"))


def basic(text: str, scheme: str = "Basic") -> str:
    return f"{scheme} {b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_its_own_credentials_are_admitted(scheme: str) -> None:
    assert ACCOUNT.admits(basic("MAXXXXXXXXXXXXXXXXXX:token", scheme))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !",
        "Bearer token",
        basic("MAXXXXXXXXXXXXXXXXXX:other"),
        basic("MAXXXXXXXXXXXXXXXXXY:token"),
        basic("token"),
        basic("MAXXXXXXXXXXXXXXXXXX:tökén"),
    ],
)
def test_others_are_not(header: str | None) -> None:
    assert not ACCOUNT.admits(header)


@pytest.mark.parametrize("auth_id", ["", "MA", "ma" + "x" * 18, "XX" + "X" * 18, "MA" + "X" * 19])
def test_an_auth_id_has_the_form_that_sdks_demand(auth_id: str) -> None:
    with pytest.raises(ValueError, match="MA or SA"):
        Account(auth_id, SecretStr("token"))


def test_a_token_cannot_be_empty() -> None:
    with pytest.raises(ValueError, match="empty"):
        Account(new_auth_id(), SecretStr(""))


def test_credentials_are_made_up_where_none_are_given() -> None:
    assert Account().auth_id != Account().auth_id


@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.lists(st.integers(0, 24).map(lambda eighths: eighths / 8), max_size=60),
)
def test_no_stretch_of_time_has_more_than_its_requests(
    most: int, seconds: int, gaps: list[float]
) -> None:
    limiter, now, admitted = RateLimiter(most, seconds), 0.0, []
    for gap in gaps:
        now += gap
        wait = limiter.admit(now)
        if wait == 0:
            admitted.append(now)
        else:
            # The wait is exact: then it is taken, and not before.
            assert 0 < wait <= seconds

    for start in admitted:
        assert sum(start <= each < start + seconds for each in admitted) <= most


def test_a_request_is_taken_after_the_wait() -> None:
    limiter = RateLimiter(1, 5)
    limiter.admit(10.0)

    assert limiter.admit(12.0) == 3.0
    assert limiter.admit(15.0) == 0.0


@pytest.mark.parametrize(("requests", "seconds"), [(0, 5), (1, 0)])
def test_a_rate_that_cannot_be_is_refused(requests: int, seconds: int) -> None:
    with pytest.raises(ValueError, match="at least 1 request"):
        RateLimiter(requests, seconds)
