import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.protocol import REASONS, ProtocolError
from mediaserver.protocol.errors import quote, without_quote


def test_an_error_reads_as_its_message_and_carries_its_reason() -> None:
    error = ProtocolError("not_json", "the message is not JSON")
    assert str(error) == "the message is not JSON"
    assert error.reason == "not_json"


def test_an_error_is_a_value_error() -> None:
    assert issubclass(ProtocolError, ValueError)


@pytest.mark.parametrize("clone", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_copying(clone: Callable[..., Any]) -> None:
    error = clone(ProtocolError("too_large", "too long"))
    assert (error.reason, str(error)) == ("too_large", "too long")


def test_reasons_are_distinct_and_fit_a_metric_label() -> None:
    assert len(set(REASONS)) == len(REASONS)
    assert all(reason.isidentifier() and reason.islower() for reason in REASONS)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000,
        ["x" * 500] * 500,
        {"k" * 99: "v" * 99},
        10**3000,
        [[[[[[]]]]]],
        "\ud800" * 99,
    ],
)
def test_a_quoted_value_is_short(value: Any) -> None:
    assert len(quote(value)) <= 80


def test_an_integer_too_long_to_print_is_quoted_by_its_type() -> None:
    assert quote(10**5000) == "a huge int"


def test_a_short_value_is_quoted_in_full() -> None:
    assert quote("audio/x-opus") == "'audio/x-opus'"


def test_what_is_quoted_can_be_left_out() -> None:
    error = ProtocolError("bad_value", f"dtmf.digit should be one key, got {quote('a secret')}")
    assert without_quote(str(error)).endswith("dtmf.digit should be one key, got …")
    assert without_quote("the caller hung up") == "the caller hung up"
