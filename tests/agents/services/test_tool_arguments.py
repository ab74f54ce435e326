import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services.tool_arguments import meant_arguments


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
