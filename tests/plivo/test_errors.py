"""Errors by status, with Plivo's text and id."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.plivo import errors
from mediaserver.plivo.errors import error_for


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequestError),
        (401, errors.AuthenticationError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (405, errors.MethodNotAllowedError),
        (409, errors.ConflictError),
        (422, errors.InvalidRequestError),
        (429, errors.RateLimitedError),
        (500, errors.ServerError),
        (503, errors.ServerError),
        (301, errors.UnexpectedResponseError),
        (418, errors.UnexpectedResponseError),
    ],
)
def test_each_status_has_its_error(status: int, kind: Any) -> None:
    error = error_for(status, {"api_id": "a-1", "error": "Why."}, request="GET Call/")
    assert type(error) is kind
    assert (error.status, error.message, error.api_id) == (status, "Why.", "a-1")


def test_an_error_says_the_request_the_status_the_text_and_the_api_id() -> None:
    error = error_for(404, {"api_id": "a-1", "error": "call not found"}, request="GET Call/x/")
    assert str(error) == "GET Call/x/: 404 Not Found: call not found (api_id a-1)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": ["from is missing", "to is missing"]}, "from is missing; to is missing"),
        ({"error": {"to": ["is invalid"]}}, "to: is invalid"),
        ({"error": {"error": "not found"}}, "not found"),
        ({"message": "no"}, "no"),
        ("Could not verify your access level\nfor that URL.", None),
        ("<html><h1>502</h1></html>", "Plivo gave no reason"),
        ("", "Plivo gave no reason"),
        (None, "Plivo gave no reason"),
        ({"api_id": 7}, "Plivo gave no reason"),
        ([], "Plivo gave no reason"),
    ],
)
def test_the_text_is_found_in_every_form(body: Any, message: str | None) -> None:
    expected = message or "Could not verify your access level for that URL."
    assert error_for(400, body).message == expected


@pytest.mark.parametrize(
    "body",
    [
        {"error": "Concurrent calls limit reached"},
        {"error": "call rejected: 5030"},
        {"error": "limit", "error_code": 5030},
    ],
)
def test_5030_is_the_concurrency_limit(body: dict[str, int | str] | dict[str, str]) -> None:
    assert type(error_for(403, body)) is errors.ConcurrencyLimitError


def test_another_403_is_no_concurrency_limit() -> None:
    error = error_for(403, {"error": "Calls to 15030 are barred"})
    assert type(error) is errors.ForbiddenError


def test_the_time_to_wait_is_kept() -> None:
    assert error_for(429, None, retry_after=2.5).retry_after == 2.5


@pytest.mark.parametrize("status", [301, 400, 402, 404, 413, 415, 429])
def test_a_refusal_did_nothing(status: int) -> None:
    assert error_for(status, None).may_have_arrived is False


@pytest.mark.parametrize("status", [200, 500, 503])
def test_a_failure_may_have_done_something(status: int) -> None:
    assert error_for(status, None).may_have_arrived is True


@given(st.integers(100, 599), JSON)
def test_any_answer_makes_an_error_of_bounded_length(
    status: int, body: dict[Any, Any] | list[dict[str, int | str] | list[int | str]] | None
) -> None:
    error = error_for(status, body)
    assert isinstance(error, errors.PlivoError)
    assert error.message
    assert len(error.message) <= 500
