from __future__ import annotations

import json
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request

from mediaserver.plivo.models import (
    ApplicationRequest,
    CallRequest,
    DigitsRequest,
    NumberRequest,
    StreamRequest,
    TransferRequest,
)
from mediaserver.sandbox.api.body import MAX_BODY, BodyError, Lenient, as_json, explained


FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"

M = TypeVar("M", bound=BaseModel)


async def read(body: bytes, kind: str = "application/json") -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    request = await as_json(Request(scope, receive))
    assert request.headers.getlist("content-type") == ["application/json"]
    return await request.json()


def parsed(model: type[M], parameters: Any) -> M:
    lenient: Any = Lenient
    return TypeAdapter[M](lenient[model]).validate_python(parameters)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a": "1"}', "application/json"),
        (b'{"a": "1"}', "application/json; charset=utf-8"),
        (b'{"a": "1"}', ""),
        (b"a=1", FORM),
        (b"a=1", FORM + "; charset=utf-8"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', MULTIPART),
    ],
)
async def test_json_and_forms_are_read(body: bytes, kind: str) -> None:
    assert await read(body, kind) == {"a": "1"}


async def test_no_body_is_no_parameters() -> None:
    assert await read(b"") == {}


@given(
    st.binary(max_size=200) | st.binary(max_size=200).map(lambda body: b"--x\r\n" + body),
    st.sampled_from(["application/json", FORM, MULTIPART, "multipart/form-data", "\xff/; ="]),
)
async def test_whatever_comes_is_read_or_refused(body: bytes, kind: Any) -> None:
    try:
        parameters = await read(body, kind)
    except BodyError:
        return
    assert isinstance(parameters, dict)


@pytest.mark.parametrize("body", [b"[" * 100_000, b"1" * 10_000, b"NaN", b" " * (MAX_BODY + 1)])
async def test_what_is_too_much_is_refused(body: bytes) -> None:
    with pytest.raises(BodyError):
        await read(body)


def test_a_form_says_numbers_and_truths_as_text() -> None:
    asked = parsed(
        StreamRequest,
        {"service_url": "wss://h.example/", "bidirectional": "true", "stream_timeout": "60"},
    )

    assert (asked.bidirectional, asked.stream_timeout) == (True, 60)


def test_numbers_stay_text_where_text_is_wanted() -> None:
    asked = parsed(
        CallRequest,
        {"from": "14155550100", "to": "14155550123", "answer_url": "http://h.example/"},
    )

    assert (asked.from_, asked.to) == ("14155550100", "14155550123")


def test_what_is_not_known_or_null_is_passed_over() -> None:
    asked = parsed(
        StreamRequest, {"service_url": "wss://h.example/", "cx_bot": True, "audio_track": None}
    )

    assert asked.body() == {"service_url": "wss://h.example/"}


@given(
    st.fixed_dictionaries(
        {"service_url": st.just("wss://h.example/")},
        optional={
            "bidirectional": st.booleans(),
            "stream_timeout": st.integers(1, 86_400),
            "noise_cancellation": st.just("true"),
            "status_callback_method": st.sampled_from(["GET", "POST"]),
        },
    )
)
async def test_a_form_says_the_same_as_json(
    parameters: dict[str, int | str] | dict[str, str],
) -> None:
    words = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
    }

    from_json = parsed(StreamRequest, await read(json.dumps(parameters).encode()))
    as_form = parsed(StreamRequest, await read(urlencode(words).encode(), FORM))
    files = {name: (None, str(word)) for name, word in words.items()}
    multipart = httpx.Request("POST", "http://h.example/", files=files)
    as_multipart = parsed(
        StreamRequest, await read(multipart.read(), multipart.headers["content-type"])
    )

    assert from_json == as_form == as_multipart


def test_a_missing_caller_is_named_as_on_the_wire() -> None:
    with pytest.raises(ValidationError) as raised:
        parsed(CallRequest, {"to": "+14155550123", "answer_url": "http://h.example/"})

    errors = [{**each, "loc": ("body", *each["loc"])} for each in raised.value.errors()]
    assert explained(errors) == "from parameter is required"


@given(st.integers(10**9, 10**14))
def test_numbers_of_phones_may_be_numbers(number: int) -> None:
    asked = parsed(
        CallRequest, {"from": 14155550100, "to": number, "answer_url": "http://h.example/"}
    )
    assert (asked.from_, asked.to) == ("14155550100", str(number))


@pytest.mark.parametrize(
    ("model", "required"),
    [
        (StreamRequest, {"service_url": "wss://h.example/"}),
        (
            CallRequest,
            {"from": "1415550100", "to": "1415550123", "answer_url": "http://h.example/"},
        ),
        (ApplicationRequest, {}),
        (DigitsRequest, {"digits": "1"}),
        (TransferRequest, {"aleg_url": "http://h.example/"}),
    ],
)
def test_empty_text_leaves_an_optional_parameter_out(
    model: type[BaseModel], required: dict[str, str]
) -> None:
    texts = {"parent_call_uuid", "subaccount", "from_"}
    names = set(model.model_fields) - set(required) - texts
    asked = parsed(model, required | dict.fromkeys(names, ""))
    assert asked == parsed(model, required)


def test_empty_text_clears_a_free_text() -> None:
    assert parsed(NumberRequest, {"alias": "", "app_id": ""}) == NumberRequest(alias="")


def test_a_transfer_without_its_url_is_refused_in_plain_words() -> None:
    with pytest.raises(ValidationError) as raised:
        parsed(TransferRequest, {"legs": "aleg"})

    errors = [{**each, "loc": ("body", *each["loc"])} for each in raised.value.errors()]
    assert explained(errors) == "legs is 'aleg', so aleg_url must be set"


def test_a_truth_is_no_text() -> None:
    with pytest.raises(ValidationError, match="caller_name"):
        parsed(
            CallRequest,
            {
                "from": "+14155550100",
                "to": "+14155550123",
                "answer_url": "http://h.example/",
                "caller_name": True,
            },
        )
