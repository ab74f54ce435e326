from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.protocol import ProtocolError, format_extra_headers, parse_extra_headers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{X-PH-token: 123.abc}", {"token": "123.abc"}),
        (
            "{X-PH-callkey: 0eb0f00e-49ba-41ca-81f6-700628f7af8b, X-PH-agent: 7}",
            {"callkey": "0eb0f00e-49ba-41ca-81f6-700628f7af8b", "agent": "7"},
        ),
        ("{X-PH-x-call-id: 9}", {"x-call-id": "9"}),
        (
            "{X-PH-name: Amal, X-PH-is_fs_krisp_enabled: true}",
            {"name": "Amal", "is_fs_krisp_enabled": "true"},
        ),
        ("{X-PH-key1: value1}", {"key1": "value1"}),
        ("{x-ph-key1: a, X-vh-key2: b}", {"key1": "a", "key2": "b"}),
        ("{X-PH-url: https://example.com:8443/a}", {"url": "https://example.com:8443/a"}),
        ("userId=12345;sessionId=abc-xyz", {"userId": "12345", "sessionId": "abc-xyz"}),
        ("k=v,k2=v2", {"k": "v", "k2": "v2"}),
        ("k = v ; k2 = v2;", {"k": "v", "k2": "v2"}),
        ("X-PH-k=v", {"k": "v"}),
        ("token=YWJj==", {"token": "YWJj=="}),
        ('{"userId":"12345"}', {"userId": "12345"}),
        ('{"X-PH-userId":"12345"}', {"userId": "12345"}),
        (
            '{"n":7,"yes":true,"none":null,"list":[1,{"a":2}]}',
            {"n": "7", "yes": "true", "none": "", "list": '[1,{"a":2}]'},
        ),
        ({"userId": "12345", "X-PH-n": 7}, {"userId": "12345", "n": "7"}),
        ("{}", {}),
        ("  { }  ", {}),
        ("", {}),
        ("  ", {}),
        (None, {}),
        ({}, {}),
        ("flag", {"flag": ""}),
        ("{flag}", {"flag": ""}),
        ("{X-PH-: v, : w}", {}),
        ("{broken: json", {"broken": "json"}),
        ("a=1,X-PH-a=2", {"a": "2"}),
    ],
)
def test_every_form_is_read(text: str | None, expected: dict[str, str]) -> None:
    assert parse_extra_headers(text) == expected


def test_a_value_that_looks_prefixed_is_left_alone() -> None:
    assert parse_extra_headers("{X-PH-a: X-PH-b}") == {"a": "X-PH-b"}


def test_deep_json_is_read_as_brace_text() -> None:
    assert parse_extra_headers('{"a":' * 500 + "1" + "}" * 500) != {}


@given(st.text(max_size=300) | st.text(alphabet='{}:,;= "X-PHa1\\', max_size=60))
def test_no_text_is_refused(text: str) -> None:
    headers = parse_extra_headers(text)
    assert all(isinstance(part, str) for item in headers.items() for part in item)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("live", "{X-PH-agent: 7, X-PH-team: x}"),
        ("documented", "agent=7;team=x"),
        ("json", '{"agent":"7","team":"x"}'),
    ],
)
def test_each_style(style: Any, expected: str) -> None:
    assert format_extra_headers({"agent": "7", "X-PH-team": "x"}, style) == expected


@pytest.mark.parametrize(
    ("style", "expected"), [("live", "{}"), ("documented", ""), ("json", "{}")]
)
def test_no_headers(style: Any, expected: str) -> None:
    assert format_extra_headers({}, style) == expected


def test_the_live_style_is_the_default() -> None:
    assert format_extra_headers({"a": "b"}) == "{X-PH-a: b}"


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",;=:{}"), max_size=12)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def headers(words: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    keys = words.filter(lambda key: key and not key.lower().startswith(("x-ph-", "x-vh-")))
    return st.dictionaries(keys, words, max_size=4)


@given(headers(PLAIN.map(str.strip)), st.sampled_from(["live", "documented"]))
def test_what_is_written_plainly_is_read_back(written: Any, style: Any) -> None:
    assert parse_extra_headers(format_extra_headers(written, style)) == written


@given(headers(ANY))
def test_json_carries_any_text(written: dict[str, str]) -> None:
    assert parse_extra_headers(format_extra_headers(written, "json")) == written


@pytest.mark.parametrize("style", ["live", "documented"])
@pytest.mark.parametrize(
    "headers", [{"a": "b,c"}, {"a;b": "c"}, {"a": "b:c"}, {"a": "{b}"}, {"a=": "b"}, {"a": " b"}]
)
def test_what_a_style_cannot_carry_is_refused(style: Any, headers: Any) -> None:
    with pytest.raises(ProtocolError, match=style) as caught:
        format_extra_headers(headers, style)
    assert caught.value.reason == "bad_extra_headers"


def test_512_bytes_as_written_are_allowed_and_513_are_not() -> None:
    assert format_extra_headers({"k": "é" * 255})
    with pytest.raises(ProtocolError, match="513 bytes, the limit is 512") as caught:
        format_extra_headers({"kk": "é" * 255})
    assert caught.value.reason == "bad_extra_headers"


def test_commas_between_headers_count_towards_the_limit() -> None:
    assert format_extra_headers({"a": "v" * 250, "b": "v" * 257}, "json")
    with pytest.raises(ProtocolError, match="513 bytes"):
        format_extra_headers({"a": "v" * 250, "b": "v" * 258}, "json")


@pytest.mark.parametrize("headers", [{"": "a"}, {"X-PH-": "a"}, {"a": "1", "X-PH-a": "2"}])
def test_empty_and_repeated_keys_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ProtocolError, match="key") as caught:
        format_extra_headers(headers)
    assert caught.value.reason == "bad_extra_headers"


def test_broken_unicode_is_refused() -> None:
    with pytest.raises(ProtocolError, match="Unicode"):
        format_extra_headers({"a": "\ud800"})


def test_an_unknown_style_is_refused() -> None:
    style: Any = "xml"
    with pytest.raises(ProtocolError, match="'live', 'documented' or 'json', got 'xml'"):
        format_extra_headers({}, style)
