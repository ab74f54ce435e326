"""What a phone in the browser asks for: one JSON object in each text message.

    {"do": "dial", "to": "+14155550123"}
    {"do": "digit", "digit": "5"}

`do` names the request; the other fields are the attributes of its class.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from mediaserver.plivo.numbers import phone_key
from mediaserver.sandbox.audio.background_noise import (
    DEFAULT_NOISE_LEVEL,
    NOISES,
    check_noise_level,
)
from mediaserver.sandbox.calls.exchange import DEFAULT_CALLER


_LONGEST_REQUEST = 2_000
_LONGEST_NAME = 50


class PhoneRequestError(Exception):
    """A request of the phone cannot be met; the message says why, and what would be right."""


class _Request(msgspec.Struct, frozen=True, tag_field="do", forbid_unknown_fields=True):
    """Base of all requests; `do` says which one it is."""


class PhoneDials(_Request, frozen=True, tag="dial"):
    """The person dials a number of the account.

    Attributes:
        to: The number.
        caller: Number of the phone.
        name: Name that the carrier shows; empty for none.
        format: Format of the stream, as in `audio/x-l16;rate=16000`; the handler's own if empty.
        path: Path of the stream; that of the dialled number if empty.

    """

    to: str
    caller: str = msgspec.field(name="from", default=DEFAULT_CALLER)
    name: str = ""
    format: str = ""
    path: str = ""


class PhoneIsCalled(_Request, frozen=True, tag="call me"):
    """The application is to call the phone.

    Attributes:
        to: Number of the phone.
        caller: Number that calls.
        name: Name that the carrier shows; empty for none.
        format: Format of the stream; the handler's own if empty.
        path: Path of the stream; that of the number that calls if empty.

    """

    to: str
    caller: str = msgspec.field(name="from")
    name: str = ""
    format: str = ""
    path: str = ""


class PhoneAnswers(_Request, frozen=True, tag="answer"):
    """The person answers the call that rings."""


class PhoneRejects(_Request, frozen=True, tag="reject"):
    """The person declines the call that rings."""


class PhoneHangsUp(_Request, frozen=True, tag="hangup"):
    """The person ends the call, whether it was answered or not."""


class PhoneHolds(_Request, frozen=True, tag="hold"):
    """The person puts the call on hold, or takes it back."""

    on: bool


class PhonePresses(_Request, frozen=True, tag="digit"):
    """The person presses keys, 0.1 s apart."""

    digit: str


class PhoneTroubles(_Request, frozen=True, tag="troubles"):
    """What makes calls difficult, from now on; what is left out stays as it is.

    Attributes:
        jitter: Seconds that each message of a stream takes at most.
        loss: Share of those messages that are lost, and sent again.
        noise: What sounds around the person, one of `NOISES`; empty for nothing.
        noise_level: How loud, in dBFS.
        silent: Whether nothing of what the person says is heard.

    """

    jitter: float | None = None
    loss: float | None = None
    noise: str | None = None
    noise_level: float | None = None
    silent: bool | None = None


class PhoneStalls(_Request, frozen=True, tag="stall"):
    """Nothing gets through between carrier and server, for a number of seconds."""

    seconds: float


PhoneRequest: TypeAlias = (
    PhoneDials
    | PhoneIsCalled
    | PhoneAnswers
    | PhoneRejects
    | PhoneHangsUp
    | PhoneHolds
    | PhonePresses
    | PhoneTroubles
    | PhoneStalls
)

_DECODER = msgspec.json.Decoder(PhoneRequest)


def read_request(text: str) -> PhoneRequest:
    """Return what a text message of a phone asks for.

    Raises:
        PhoneRequestError: It is not one of the requests, or says something that cannot be.

    """
    if len(text) > _LONGEST_REQUEST:
        raise PhoneRequestError(
            f"a request has at most {_LONGEST_REQUEST} characters, not {len(text)}"
        )
    try:
        request: PhoneRequest = _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        raise PhoneRequestError(f"the page sent something that is no request: {error}") from error
    if isinstance(request, PhoneDials | PhoneIsCalled):
        for what, number in (("called", request.to), ("caller's", request.caller)):
            if phone_key(number) is None:
                raise PhoneRequestError(
                    f"the {what} number must be a phone number such as +14155550123,"
                    f" or a SIP address, not {number[:60]!r}"
                )
        if len(request.name) > _LONGEST_NAME:
            raise PhoneRequestError(f"a caller's name has at most {_LONGEST_NAME} characters")
    elif isinstance(request, PhoneTroubles):
        _check_noise(request)
    return request


def _check_noise(troubles: PhoneTroubles) -> None:
    if troubles.noise and troubles.noise not in NOISES:
        raise PhoneRequestError(
            f"there is no noise {troubles.noise[:60]!r}; allowed: {', '.join(NOISES)}"
        )
    level = DEFAULT_NOISE_LEVEL if troubles.noise_level is None else troubles.noise_level
    try:
        check_noise_level(level)
    except ValueError as error:
        raise PhoneRequestError(str(error)) from error
