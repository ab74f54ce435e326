import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services.tool_arguments import (
    accepted_name,
    arguments_object,
    meant_arguments,
)


@pytest.mark.parametrize("text", ["", "  ", "null", "[]", " [ ] ", '""', '"null"', '"{}"', "{}"])
def test_no_arguments_are_an_empty_object(text: str) -> None:
    assert meant_arguments(text) == "{}"


@given(st.dictionaries(st.text(), st.text() | st.integers()), st.integers(1, 3))
def test_an_object_that_was_encoded_several_times_is_unwrapped(
    arguments: dict[str, Any], times: int
) -> None:
    text = json.dumps(arguments)
    for _ in range(times):
        text = json.dumps(text)
    assert json.loads(meant_arguments(text)) == arguments


@pytest.mark.parametrize("text", ["[1]", "0", "false", '{"day"', "today", '"today"'])
def test_whatever_else_there_is_stays_to_be_explained(text: str) -> None:
    assert meant_arguments(text).strip('"') == text.strip('"')


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_json_that_is_nested_too_deeply_stays_as_it_is(text: str) -> None:
    assert meant_arguments(text) == text


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    meant_arguments(text)


@pytest.mark.parametrize("text", ["[1]", '{"day"', "today", "[" * 100_000])
def test_arguments_that_are_no_object_are_a_field_of_one(text: str) -> None:
    assert arguments_object(text) == {"arguments": text}
    assert arguments_object('{"day": 1}') == {"day": 1}


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("look_up", "look_up"), ("look up!", "look_up_"), ("", "unknown"), ("x" * 99, "x" * 64)],
)
def test_a_name_that_a_model_made_up_has_letters_that_servers_take(
    name: str, accepted: str
) -> None:
    assert accepted_name(name) == accepted
