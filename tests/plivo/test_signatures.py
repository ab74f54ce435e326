"""Agreement with Plivo's own SDK, and what an attacker or a clumsy proxy may send.

The SDK itself raises for some requests, which are therefore not compared: a URL that is not ASCII,
and, before Python 3.12, a query whose decoded values are not. (From then on it reads the bytes of
such values as Latin-1; Plivo signs UTF-8, as its other SDKs do.)
"""

import random
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plivo import utils as plivo

from mediaserver.plivo.signatures import (
    MA_V3_HEADER,
    V2_HEADER,
    V2_NONCE_HEADER,
    V3_HEADER,
    V3_NONCE_HEADER,
    SignatureError,
    form_params,
    new_nonce,
    sign_headers,
    sign_upgrade,
    sign_v2,
    sign_v3,
    signed_text,
    verify_headers,
    verify_upgrade,
    verify_v2,
    verify_v3,
    websocket_candidates,
)


TOKEN = "test-plivo-auth-token"
NONCE = "12345678901234567890"
ANSWER = "https://agent.example.com/answer"
STREAM = "wss://agent.example.com/ws?token=b&a=1"
CALL = {"CallUUID": "c1", "From": "14150000001", "To": "14150000002"}

PUBLISHED_URL = "https://plivobin.non-prod.plivops.com/api/v1/validate_signature03.xml/?a=b&c=d"
PUBLISHED_NONCE = "31627761595286130198"
PUBLISHED_TOKEN = "Y2Q2ZDgxZmY5YWRiOTI5YmQ1Njg0MTAxZWIyOTc4"
PUBLISHED = {
    "Direction": "outbound",
    "From": "19792014278",
    **dict.fromkeys(
        ("ALegUUID", "ALegRequestUUID", "CallUUID", "RequestUUID"),
        "3e82ae9d-2c78-4d85-b1a4-6eae7dbafb36",
    ),
    "CallStatus": "in-progress",
    "BillRate": "0.002",
    "ParentAuthID": "MANWVLYTK4ZWU1YTY4QA",
    "To": "sip:PlivoSignature382029104058171078704104@phone-qa.voice.plivodev.com",
    "SIP-H-To": "<sip:PlivoSignature382029104058171078704104@52.9.11.55;transport=udp>;tag=1",
    "SessionStart": "2020-04-08 11:34:33.238707",
    "Event": "StartApp",
}


# The text


@pytest.mark.parametrize(
    ("method", "url", "params", "text"),
    [
        ("GET", "https://h/ws", None, "https://h/ws"),
        ("GET", "https://h/ws?b=2&a=1", None, "https://h/ws?a=1&b=2"),
        ("POST", "https://h/ws", None, "https://h/ws"),
        ("POST", "https://h/ws?b=2&a=1", None, "https://h/ws?a=1&b=2"),
        ("POST", "https://h/ws", {"b": "2", "a": "1"}, "https://h/ws?a1b2"),
        ("POST", "https://h/ws?x=1", {"a": "1", "b": ["2", "1"]}, "https://h/ws?x=1.a1b1b2"),
        ("POST", "https://h/ws", {"a": {"c": "2", "b": "1"}}, "https://h/ws?ab1c2"),
        ("GET", "https://h/ws?a=1", {"a": "2", "b": ["2", "1"]}, "https://h/ws?a=1&b=1&b=2"),
        ("GET", "https://h:8443/ws/;p=1?q=%C3%A9&e=#f", None, "https://h:8443/ws/?e=&q=é"),
        ("get", "https://h", None, "https://h"),
    ],
)
def test_the_text_is_the_one_the_sdk_signs(
    method: str,
    url: str,
    params: dict[str, dict[str, str]] | dict[str, list[str] | str] | dict[str, str] | None,
    text: str,
) -> None:
    assert signed_text(method, url, params) == text


@pytest.mark.parametrize("url", ["", "agent.example.com/ws", "https:///x", "https://[::1/x"])
def test_what_is_no_url_is_not_signed(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        sign_v3("GET", url, NONCE, TOKEN)
    with pytest.raises(ValueError, match="not a URL"):
        sign_v2(url, NONCE, TOKEN)
    assert not verify_v3("x", "GET", url, NONCE, TOKEN)
    assert not verify_v2("x", url, NONCE, TOKEN)


def test_other_methods_are_not_signed() -> None:
    with pytest.raises(ValueError, match="GET and POST requests, not 'PUT'"):
        sign_v3("PUT", ANSWER, NONCE, TOKEN)
    assert not verify_v3("x", "PUT", ANSWER, NONCE, TOKEN)


def test_a_query_has_no_nested_fields() -> None:
    with pytest.raises(ValueError, match="nested"):
        sign_v3("GET", ANSWER, NONCE, TOKEN, {"a": {"b": "c"}})


@pytest.mark.parametrize("tokens", ["", (), ("good", "")])
def test_an_empty_token_signs_and_verifies_nothing(
    tokens: str | tuple[()] | tuple[str, str],
) -> None:
    with pytest.raises(ValueError, match="no auth token"):
        sign_headers("GET", ANSWER, tokens)
    with pytest.raises(ValueError, match="no auth token"):
        verify_v3(sign_v3("GET", ANSWER, NONCE, "good"), "GET", ANSWER, NONCE, tokens)


# Vectors


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("POST", "k7Pusd4OxCIjR5IfA9iedDNu/h/gbdYqdzG/MiYtd1c="),
        ("GET", "UBq8jAtd32wR8EK9VgxbBn4n5rpI/l1H9iN4WfSEHFQ="),
    ],
)
def test_the_published_vectors_of_version_3_hold(method: str, signature: str) -> None:
    given = (method, PUBLISHED_URL, PUBLISHED_NONCE, PUBLISHED_TOKEN)
    assert sign_v3(*given, PUBLISHED) == signature
    assert verify_v3(signature, *given, PUBLISHED)
    assert plivo.validate_v3_signature(*given, signature, dict(PUBLISHED))


@pytest.mark.parametrize(
    ("method", "url", "params", "signature"),
    [
        (
            "GET",
            "http://agent.example.com/ws",
            None,
            "sxiCh2bjEqa72vHrtFrhZxo0xGQ4gj+u1dMAM5eOYwo=",
        ),
        (
            "GET",
            "http://agent.example.com/ws?body=abc",
            None,
            "rPffDrW3ON38JjvrZca26tFQMjweMGV5OBxoxyqQKAE=",
        ),
        (
            "GET",
            "https://agent.example.com/ws",
            None,
            "vxidRWKdFSJAcHSSibqlreTyqvFw3Q7LOflPH2kHw3A=",
        ),
        (
            "GET",
            f"{ANSWER}?CallUUID=c1&From=14150000001&a=1",
            None,
            "jkGcamwP1FAUfDvXh6+jPYlFeUZBKOV/HxZGIWnXMlE=",
        ),
        ("POST", ANSWER, CALL, "J1L75j6S8tXTdx2bgG7tILxOE1P3JvRF+r5gZn+15NA="),
        ("POST", f"{ANSWER}?a=1&b=2", CALL, "mvgU998uaX9WlqW8+k2/7+sP0DXec0kcRFaMgfkf1NM="),
        ("POST", ANSWER, None, "Jhm5WNvpwcDKu0BWzpTefgM0615/g3YAPFxNtoZzWi0="),
    ],
)
def test_known_signatures_of_version_3_hold(
    method: str, url: str, params: dict[str, str] | None, signature: str
) -> None:
    assert sign_v3(method, url, NONCE, TOKEN, params) == signature


@pytest.mark.parametrize(
    ("url", "nonce", "token", "signature"),
    [
        (
            "https://answer.url",
            "12345",
            "my_auth_token",
            "ehV3IKhLysWBxC1sy8INm0qGoQYdYsHwuoKjsX7FsXc=",
        ),
        (ANSWER, NONCE, TOKEN, "ldJ8xtT010O39X4rdjDbjpzf1M5k4GuPKaxXmrlwk0g="),
    ],
)
def test_known_signatures_of_version_2_hold(
    url: str, nonce: str, token: str, signature: str
) -> None:
    assert sign_v2(url, nonce, token) == signature
    assert verify_v2(signature, f"{url}?any=query", nonce, token)
    assert plivo.validate_signature(url, nonce, signature, token)


# The SDK, on any request

TEXT = "aZ09 +&=%?#/.;,:é世🎧\n"
ASCII = "".join(letter for letter in TEXT if letter.isascii())


class Generator:
    """Requests, from a seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def text(self, letters: str, longest: int = 8) -> str:
        return "".join(self.random.choices(letters, k=self.random.randint(0, longest)))

    def params(
        self, letters: str
    ) -> dict[str, list[str] | str] | dict[str, list[str]] | dict[str, str]:
        params = {}
        for _ in range(self.random.randint(0, 5)):
            values = [self.text(letters) for _ in range(self.random.randint(1, 3))]
            name = self.text(letters, 4)
            params[name] = values if len(values) > 1 or self.random.random() < 0.3 else values[0]
        return params

    def url(self) -> str:
        scheme = self.random.choice(("http", "https"))
        host = self.random.choice(("agent.example.com", "h", "h:8443", "127.0.0.1:80"))
        path = self.random.choice(("", "/", "/answer", "/answer/", "/a/;p=1", "/%C3%A9/x%20y"))
        query = self.params(ASCII)
        asked = self.random.choice(("", f"?{urlencode(query, doseq=True)}", "?a=1&b=&a=0&=x"))
        return f"{scheme}://{host}{path}{asked}{self.random.choice(('', '', '#f'))}"

    def request(self) -> tuple[str, str, str, str, dict[str, Any]]:
        method = self.random.choice(("GET", "POST", "get", "Post"))
        letters = TEXT if method.upper() == "POST" else ASCII
        token = self.text(string.ascii_letters + string.digits + "é", 40) or "t"
        return method, self.url(), self.text(string.digits, 20) or "7", token, self.params(letters)


def test_two_thousand_requests_are_signed_as_the_sdk_does() -> None:
    generator = Generator("Plivo")
    for _ in range(2_000):
        method, url, nonce, token, params = generator.request()
        mine = sign_v3(method, url, nonce, token, params)
        described = (method, url, nonce, token, params)
        assert plivo.validate_v3_signature(method, url, nonce, token, mine, dict(params)), described
        assert verify_v3(mine, method, url, nonce, token, params), described
        assert plivo.validate_signature(url, nonce, sign_v2(url, nonce, token), token), described


def test_what_the_sdk_refuses_is_refused() -> None:
    generator = Generator("refused")
    for _ in range(1_000):
        method, url, nonce, token, params = generator.request()
        other = sign_v3(method, url, nonce, token, {**params, "a": "changed"})
        theirs = plivo.validate_v3_signature(method, url, nonce, token, other, dict(params))
        assert verify_v3(other, method, url, nonce, token, params) == theirs


@given(
    st.sampled_from(["GET", "POST"]),
    st.dictionaries(st.text(), st.one_of(st.text(), st.lists(st.text(), min_size=1)), max_size=5),
    st.dictionaries(
        st.text(st.characters(max_codepoint=127)),
        st.text(st.characters(max_codepoint=127)),
        max_size=4,
    ),
)
@example("POST", {"": ""}, {"": ""})
def test_any_form_is_signed_as_the_sdk_does(
    method: str, params: dict[str, list[str]] | dict[str, str], query: dict[str, str]
) -> None:
    url = f"{ANSWER}?{urlencode(query)}"
    try:
        mine = sign_v3(method, url, NONCE, TOKEN, params)
        theirs = plivo.validate_v3_signature(method, url, NONCE, TOKEN, mine, dict(params))
    except UnicodeEncodeError:  # the SDK, on a lone surrogate
        return
    assert theirs


def test_a_query_that_is_not_ascii_is_signed_as_utf_8() -> None:
    url = f"{ANSWER}?name={quote('Zoë 世')}"
    assert signed_text("GET", url) == f"{ANSWER}?name=Zoë 世"
    assert verify_v3(sign_v3("GET", url, NONCE, TOKEN), "GET", url, NONCE, TOKEN)


def test_a_form_is_gathered_as_it_came() -> None:
    assert form_params([("b", "2"), ("a", "1"), ("b", "1")]) == {"b": ["2", "1"], "a": ["1"]}


# Headers


def test_what_is_signed_here_is_taken_here() -> None:
    headers = sign_headers("POST", ANSWER, TOKEN, CALL)
    verified = verify_headers(headers, "POST", ANSWER, TOKEN, CALL)
    assert (verified.header, verified.url) == (V3_HEADER, ANSWER)
    assert verified.nonce == headers[V3_NONCE_HEADER]


def test_the_case_of_header_names_does_not_matter() -> None:
    headers = [(name.lower(), value) for name, value in sign_headers("GET", ANSWER, TOKEN).items()]
    verify_headers(headers, "GET", ANSWER, TOKEN)


def test_each_of_several_active_tokens_signs() -> None:
    headers = sign_headers("GET", ANSWER, ["old", "new"])
    assert headers[V3_HEADER].count(",") == 1
    for token in ("old", "new", ("other", "new")):
        verify_headers(headers, "GET", ANSWER, token)


def test_spaces_after_the_commas_and_repeated_headers_do_not_matter() -> None:
    signature = sign_v3("GET", ANSWER, NONCE, TOKEN)
    nonce = (V3_NONCE_HEADER, NONCE)
    verify_headers([(V3_HEADER, f"xx , {signature} "), nonce], "GET", ANSWER, TOKEN)
    verify_headers([(V3_HEADER, "xx"), (V3_HEADER, signature), nonce], "GET", ANSWER, TOKEN)


def test_the_main_accounts_signature_will_do() -> None:
    headers = sign_headers("GET", ANSWER, "subaccount", main_tokens="main")
    assert verify_headers(headers, "GET", ANSWER, "main").header == MA_V3_HEADER
    assert verify_headers(headers, "GET", ANSWER, "subaccount").header == V3_HEADER


def test_version_2_is_taken_only_where_it_is_asked_for_and_alone() -> None:
    headers = sign_headers("GET", ANSWER, TOKEN, v2=True)
    alone = {name: value for name, value in headers.items() if "V3" not in name}
    assert verify_headers(alone, "GET", ANSWER, TOKEN, v2=True).header == V2_HEADER
    with pytest.raises(SignatureError, match="no X-Plivo-Signature-V3 header"):
        verify_headers(alone, "GET", ANSWER, TOKEN)
    with pytest.raises(SignatureError, match="not made with"):
        verify_headers(alone, "GET", ANSWER, "another", v2=True)
    # Whoever changed what V3 covers must not get by with V2, which does not cover it.
    with pytest.raises(SignatureError, match="not made with"):
        verify_headers(headers, "GET", f"{ANSWER}?changed=1", TOKEN, v2=True)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"),
        ({V3_HEADER: ""}, "missing"),
        ({V3_NONCE_HEADER: NONCE}, "missing"),
        ({V3_HEADER: sign_v3("GET", ANSWER, "", TOKEN)}, "missing"),
        ({V3_HEADER: "x", V3_NONCE_HEADER: "1" * 129}, "invalid"),
        ({V3_HEADER: "x", V3_NONCE_HEADER: NONCE}, "mismatch"),
        ({V3_HEADER: ",,,", V3_NONCE_HEADER: NONCE}, "mismatch"),
        ({V3_HEADER: "é世", V3_NONCE_HEADER: NONCE}, "mismatch"),
        ({V3_HEADER: sign_v3("GET", ANSWER, NONCE, "other"), V3_NONCE_HEADER: NONCE}, "mismatch"),
        ({V3_HEADER: sign_v3("GET", ANSWER, "1", TOKEN), V3_NONCE_HEADER: NONCE}, "mismatch"),
        (
            {V3_HEADER: sign_v3("POST", ANSWER, NONCE, TOKEN, CALL), V3_NONCE_HEADER: NONCE},
            "mismatch",
        ),
    ],
)
@pytest.mark.parametrize(
    "check",
    [lambda h: verify_headers(h, "GET", ANSWER, TOKEN), lambda h: verify_upgrade(h, STREAM, TOKEN)],
)
def test_anything_else_is_refused_and_the_error_keeps_the_secret(
    headers: dict[str, str], reason: str, check: Callable[..., Any]
) -> None:
    with pytest.raises(SignatureError) as raised:
        check(headers)
    assert raised.value.reason == reason
    assert TOKEN not in str(raised.value)
    assert sign_v3("GET", ANSWER, NONCE, TOKEN) not in str(raised.value)


def test_no_more_than_a_few_signatures_are_looked_at() -> None:
    signature = sign_v3("GET", ANSWER, NONCE, TOKEN)
    few = ",".join(["x"] * 15 + [signature])
    assert verify_v3(few, "GET", ANSWER, NONCE, TOKEN)
    assert not verify_v3(f"x,{few}", "GET", ANSWER, NONCE, TOKEN)


def test_a_lone_surrogate_is_no_exception() -> None:
    assert not verify_v3("\ud800", "POST", ANSWER, NONCE, TOKEN, {"a": "\ud800"})


@pytest.mark.parametrize("nonce", ["b.123", "12a", " ", "١٢٣", "1 2", "-1", "1.5", "0x1"])
def test_a_nonce_that_is_not_decimal_is_refused(nonce: str) -> None:
    v3, v2 = sign_v3("GET", ANSWER, nonce, TOKEN), sign_v2(ANSWER, nonce, TOKEN)
    assert not verify_v3(v3, "GET", ANSWER, nonce, TOKEN)
    assert not verify_v2(v2, ANSWER, nonce, TOKEN)
    for headers in (
        {V3_HEADER: v3, V3_NONCE_HEADER: nonce},
        {V2_HEADER: v2, V2_NONCE_HEADER: nonce},
    ):
        with pytest.raises(SignatureError) as raised:
            verify_headers(headers, "GET", ANSWER, TOKEN, v2=True)
        assert raised.value.reason in ("invalid", "missing")


def test_the_border_between_the_text_and_the_nonce_cannot_be_moved() -> None:
    signature = sign_v3("GET", f"{ANSWER}?To=a.b", "123", TOKEN)
    assert verify_v3(signature, "GET", f"{ANSWER}?To=a.b", "123", TOKEN)
    assert plivo.validate_v3_signature("GET", f"{ANSWER}?To=a", "b.123", TOKEN, signature)
    assert not verify_v3(signature, "GET", f"{ANSWER}?To=a", "b.123", TOKEN)
    headers = {V3_HEADER: signature, V3_NONCE_HEADER: "b.123"}
    with pytest.raises(SignatureError, match="not a decimal number"):
        verify_headers(headers, "GET", f"{ANSWER}?To=a", TOKEN)
    with pytest.raises(SignatureError, match="not a decimal number"):
        verify_upgrade(headers, "wss://voice.example.com/stream?To=a", TOKEN)


def test_nonces_are_twenty_digits_and_differ() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) == 20 and nonce.isdecimal() for nonce in nonces)


# Streams


def test_the_candidates_come_in_the_order_of_what_is_likely() -> None:
    assert websocket_candidates(STREAM) == [
        "http://agent.example.com/ws",
        "http://agent.example.com/ws?token=b&a=1",
        "https://agent.example.com/ws",
        "https://agent.example.com/ws?token=b&a=1",
        "wss://agent.example.com/ws",
        "wss://agent.example.com/ws?token=b&a=1",
    ]


def test_without_a_query_there_is_one_candidate_for_each_scheme() -> None:
    assert websocket_candidates("ws://h:81/ws") == [
        "http://h:81/ws",
        "https://h:81/ws",
        "ws://h:81/ws",
    ]


@pytest.mark.parametrize("candidate", websocket_candidates(STREAM))
def test_a_stream_that_is_signed_in_any_of_these_ways_is_taken(candidate: str) -> None:
    headers = sign_headers("GET", candidate, TOKEN)
    assert verify_upgrade(headers, STREAM, TOKEN).url == candidate


def test_a_stream_is_signed_the_way_live_calls_are() -> None:
    headers = sign_upgrade(STREAM, "subaccount", main_tokens="main", nonce=NONCE)
    assert headers == {
        V3_HEADER: sign_v3("GET", "http://agent.example.com/ws", NONCE, "subaccount"),
        MA_V3_HEADER: sign_v3("GET", "http://agent.example.com/ws", NONCE, "main"),
        V3_NONCE_HEADER: NONCE,
    }
    assert plivo.validate_v3_signature(
        "GET", "http://agent.example.com/ws", NONCE, "main", headers[MA_V3_HEADER]
    )


@pytest.mark.parametrize(
    "url",
    ["wss://agent.example.com/other", "wss://other.example.com/ws", "wss://agent.example.com:1/ws"],
)
def test_a_signature_for_another_stream_is_refused(url: str) -> None:
    with pytest.raises(SignatureError, match="not made with the auth token"):
        verify_upgrade(sign_upgrade(url, TOKEN), STREAM, TOKEN)


def test_what_is_no_url_is_no_stream() -> None:
    with pytest.raises(SignatureError, match="not a URL") as raised:
        verify_upgrade(sign_upgrade(STREAM, TOKEN), "wss://[", TOKEN)
    assert raised.value.reason == "invalid"
