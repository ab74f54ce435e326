from typing import Any

import pytest

from mediaserver.agents.services.setting_values import (
    require_name,
    require_terms,
    require_text_list,
    require_url,
    require_within,
)


def test_numbers_and_names_may_be_left_out() -> None:
    require_within(0, 1, speed=None, volume=0.5)
    require_name(emotion=None, voice="anna")
    with pytest.raises(ValueError, match="voice must be a word without spaces, not 'an na'"):
        require_name(voice="an na")
    with pytest.raises(ValueError, match=r"speed must be a number from 0\.5 to 1, not nan"):
        require_within(0.5, 1, speed=float("nan"))


@pytest.mark.parametrize(
    "url", ["ws://host", "http:///path", "http://host?key=x", "http://host/path", "host"]
)
def test_a_url_is_of_a_server(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must look like http://api, not "):
        require_url(url, like="http://api", schemes=("http",), has_path=False)


def test_the_parts_of_a_url_are_returned() -> None:
    parts = require_url("http://host:1/path", like="http://api", schemes=("http",))
    assert (parts.netloc, parts.path) == ("host:1", "/path")


@pytest.mark.parametrize("values", ["Plivo", ["a", " "], [1]])
def test_a_list_of_texts_has_texts_only(values: Any) -> None:
    assert require_text_list("keyterms", ("a", "b c")) == ["a", "b c"]
    with pytest.raises(ValueError, match="keyterms is a list of texts"):
        require_text_list("keyterms", values)


@pytest.mark.parametrize("terms", ["Plivo", [" "], ["a", "b", "c"], ["abcd"]])
def test_terms_are_not_too_many_and_not_too_long(terms: Any) -> None:
    assert require_terms(("a b", "c"), most=2, longest=3) == ["a b", "c"]
    with pytest.raises(ValueError, match="keyterms"):
        require_terms(terms, most=2, longest=3)
