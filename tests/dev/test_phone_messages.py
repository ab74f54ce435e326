from __future__ import annotations

import json
from typing import Any

import pytest

from mediaserver.dev.phone_messages import (
    PhoneAnswers,
    PhoneDials,
    PhoneHangsUp,
    PhoneHolds,
    PhoneIsCalled,
    PhonePresses,
    PhoneRejects,
    PhoneRequest,
    PhoneRequestError,
    PhoneStalls,
    PhoneTroubles,
    read_request,
)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('{"do":"dial","to":"+14155550123"}', PhoneDials("+14155550123")),
        (
            '{"do":"dial","to":"sip:a@b.example","from":"+1 415 5550100","name":"A","format":"x"}',
            PhoneDials("sip:a@b.example", "+1 415 5550100", "A", "x"),
        ),
        (
            '{"do":"call me","to":"+4930123456","from":"+14155550123"}',
            PhoneIsCalled("+4930123456", "+14155550123"),
        ),
        ('{"do":"answer"}', PhoneAnswers()),
        ('{"do":"reject"}', PhoneRejects()),
        ('{"do":"hangup"}', PhoneHangsUp()),
        ('{"do":"hold","on":false}', PhoneHolds(False)),
        ('{"do":"digit","digit":"5"}', PhonePresses("5")),
        ('{"do":"troubles","noise":"","silent":true}', PhoneTroubles(noise="", silent=True)),
        (
            '{"do":"troubles","noise":"street","noise_level":-40}',
            PhoneTroubles(noise="street", noise_level=-40),
        ),
        ('{"do":"stall","seconds":2}', PhoneStalls(2)),
    ],
)
def test_each_request_is_read(text: str, request_: PhoneRequest) -> None:
    assert read_request(text) == request_


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"do": "sing"}, "sing"),
        ({"to": "+14155550123"}, "`do`"),
        ({"do": "dial"}, "`to`"),
        ({"do": "hold", "on": "yes"}, "Expected `bool`"),
        ({"do": "hangup", "cause": 3}, "unknown field `cause`"),
        ({"do": "dial", "to": ""}, "called number must be a phone number such as"),
        ({"do": "dial", "to": "+14155550123", "from": "me"}, "caller's number .* not 'me'"),
        ({"do": "dial", "to": "+14155550123", "name": "x" * 51}, "at most 50 characters"),
        ({"do": "troubles", "noise": "rain"}, "allowed: coughing, typing, street"),
        ({"do": "troubles", "noise_level": 0}, "-70 to -6 dBFS, not 0"),
        ({"do": "digit", "digit": "5" * 3_000}, "at most 2000 characters"),
        ([], "Expected `object`"),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(asked: Any, error: str) -> None:
    with pytest.raises(PhoneRequestError, match=error):
        read_request(json.dumps(asked))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(PhoneRequestError, match="no request: JSON is malformed"):
        read_request("{do: dial}")
