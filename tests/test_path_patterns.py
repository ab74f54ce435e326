"""Paths with parameters."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.path_patterns import PathPattern, PathPatternError, path_pattern


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("/stream", "/stream", {}),
        ("/stream/", "/stream", {}),
        ("/", "", {}),
        ("/stream", "/streams", None),
        ("/t/{tenant}", "/t/acme", {"tenant": "acme"}),
        ("/t/{tenant}", "/t/acme/", {"tenant": "acme"}),
        ("/t/{tenant}/", "/t/acme", {"tenant": "acme"}),
        ("/t/{tenant}", "/t/", None),
        ("/t/{tenant}", "/t/acme/more", None),
        ("/t/{tenant}/{desk:int}", "/t/acme/7", {"tenant": "acme", "desk": 7}),
        ("/t/{desk:int}", "/t/x", None),
        ("/t/{desk:int}", "/t/" + "9" * 5000, None),
        ("/t.{rest:path}", "/t.a/b", {"rest": "a/b"}),
        ("/t.{rest:path}", "/txa/b", None),
        ("/t/{id:uuid}", f"/t/{uuid.UUID(int=5)}", {"id": uuid.UUID(int=5)}),
    ],
)
def test_a_path_is_matched_as_a_whole(pattern: str, path: str, found: Any) -> None:
    assert PathPattern(pattern).match(path) == found


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("/t/{tenant", "a parameter is written {name}"),
        ("/t/tenant}", "a parameter is written {name}"),
        ("/t/{}", "a parameter is written {name}"),
        ("/t/{1st}", "a parameter is written {name}"),
        ("/t/{a-b}", "a parameter is written {name}"),
        ("/t/{{a}}", "a parameter is written {name}"),
        ("/t/{a:number}", "'number' is not a type; there are float, int, path, str, uuid"),
        ("/t/{a}/{a}", "'a' stands twice"),
    ],
)
def test_a_malformed_pattern_is_refused_with_what_would_be_right(pattern: str, why: str) -> None:
    with pytest.raises(PathPatternError) as caught:
        PathPattern(pattern)
    assert repr(pattern) in str(caught.value)
    assert why in str(caught.value)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_path_is_matched_or_not(text: str, path: str) -> None:
    try:
        pattern = PathPattern(f"/{text}")
    except PathPatternError:
        return
    assert pattern.match(path) in (None, {}) or pattern.has_parameters


def test_a_pattern_is_made_once_and_names_do_not_change_its_shape() -> None:
    assert path_pattern("/t/{a}") is path_pattern("/t/{a}")
    assert path_pattern("/t/{a}").shape == path_pattern("/t/{b}/").shape
    assert path_pattern("/t/{a}").shape != path_pattern("/t/{b:int}").shape
