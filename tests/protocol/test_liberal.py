import math
from collections.abc import Callable
from typing import Any

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.protocol import ProtocolError
from mediaserver.protocol.liberal import (
    MAX_COUNT,
    MAX_DEPTH,
    parse_json,
    parse_object,
    read_count,
    read_payload,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (0, 0),
        ("3", 3),
        (" 3 ", 3),
        (3.0, 3),
        ("3.0", 3),
        (20.5, 20),
        ("1e3", 1000),
        (MAX_COUNT, MAX_COUNT),
        (str(MAX_COUNT), MAX_COUNT),
    ],
)
def test_a_count_is_read_from_any_number(value: float | str, expected: int) -> None:
    result = read_count(value)
    assert result == expected
    assert type(result) is int


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, [], {}, "", "three", "nan", "inf", "1e400", math.inf, math.nan),
        *(-1, "-1", MAX_COUNT + 1, 10**30, "9" * 5000),
    ],
)
def test_what_is_no_count_is_none(value: dict[Any, Any] | float | str | None) -> None:
    assert read_count(value) is None


@given(st.binary(max_size=2000), st.booleans(), st.booleans(), st.booleans())
def test_a_payload_is_read_in_every_spelling_of_base64(
    audio: bytes, url_safe: bool, padded: bool, wrapped: bool
) -> None:
    encode = pybase64.urlsafe_b64encode if url_safe else pybase64.standard_b64encode
    text = encode(audio).decode()
    if not padded:
        text = text.rstrip("=")
    if wrapped:
        text = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)) + "\n "
    assert read_payload(text, "media.payload") == audio


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=A", "AA!A", "é", "AAAA\x00", "\ud800AAA", "=A"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="base64") as caught:
        read_payload(text, "media.payload")
    assert caught.value.reason == "bad_base64"


def test_a_bad_payload_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ProtocolError) as caught:
        read_payload("SECRETSECRET!", "media.payload")
    assert "SECRET" not in str(caught.value)
    assert "13 characters" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "missing_field"), (5, "bad_value"), ([], "bad_value")]
)
def test_a_payload_that_is_no_string_is_refused(value: int | list[Any] | None, reason: str) -> None:
    with pytest.raises(ProtocolError, match=r"media\.payload") as caught:
        read_payload(value, "media.payload")
    assert caught.value.reason == reason


def nest(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_moderate_nesting_is_read() -> None:
    assert parse_json(nest(MAX_DEPTH)) == eval(nest(MAX_DEPTH))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 30_000])
@pytest.mark.parametrize("build", [nest, lambda depth: "[" * depth + "]" * depth])
def test_deep_nesting_is_refused(depth: int, build: Callable[..., Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_json(build(depth + 1))
    assert caught.value.reason == "too_deep"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 30_000])
@pytest.mark.parametrize("build", [lambda depth: "[" * depth, lambda depth: '{"a":' * depth])
def test_deep_nesting_that_breaks_off_is_refused_as_too_deep(
    depth: int, build: Callable[[int], str]
) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_json(build(depth))
    assert caught.value.reason == "too_deep"


@pytest.mark.parametrize(
    "text", ["[" * MAX_DEPTH, "[]" * 99, '["' + "[" * 99, '["\\"' + "[" * 99, '["', "\\", '"\\']
)
def test_what_does_not_nest_deep_is_just_not_json(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_json(text)
    assert caught.value.reason == "not_json"


@pytest.mark.parametrize("text", ["[1]", '"start"', "5", "null", "true"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_object(text)
    assert caught.value.reason == "not_object"


def test_of_equal_keys_the_last_counts() -> None:
    assert parse_object('{"event":"stop","event":"start"}') == {"event": "start"}
