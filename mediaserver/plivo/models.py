"""Requests to Plivo's REST API and its responses.

Requests are checked when they are made, by the rules of Plivo's pages ("Audio Streams" and the
"Calls" reference), so that a request that Plivo would refuse is never sent: pydantic's
``ValidationError``, a ``ValueError``, says what was given and what is allowed. Parameters that are
None are not sent, and Plivo's defaults apply.

Responses are read tolerantly: missing fields are None, numbers may be text, and unknown fields are
kept as attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from mediaserver.plivo.numbers import dialable, same_number
from mediaserver.plivo.parameter_kinds import (
    SIP_HEADERS,
    FlagKind,
    UrlKind,
    WholeKind,
    WordKind,
)
from mediaserver.plivo.stream_parameters import (
    AUDIO_TRACK,
    BIDIRECTIONAL,
    CONTENT_TYPE,
    EXTRA_HEADERS,
    NOISE_CANCELLATION,
    NOISE_CANCELLATION_LEVEL,
    SERVICE_URL,
    STATUS_CALLBACK_METHOD,
    STATUS_CALLBACK_URL,
    STREAM_TIMEOUT,
    check_combination,
    ignores_level,
    warnings_of,
)


_MAX_DESTINATIONS: Final = 1000
"""Largest number of destinations of one request."""
MAX_PAGE: Final = 20
"""Longest page of a list, and the default one, in objects."""

_PAUSED_DIGITS: Final = r"[0-9A-Da-d*#wW]+(@[0-9]+)?"

Method: TypeAlias = Literal["GET", "POST"]
Track: TypeAlias = Literal["inbound", "outbound", "both"]
Leg: TypeAlias = Literal["aleg", "bleg"]
Legs: TypeAlias = Literal["aleg", "bleg", "both"]


def problems(error: ValidationError) -> str:
    """Describe in one line what is wrong with a request: ``to: a phone number has …``."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(problem(detail) for detail in details)


def problem(detail: Mapping[str, Any]) -> str:
    """Return one of the errors that pydantic found in a request as ``name: what is wrong``."""
    name = ".".join(str(each).rstrip("_") for each in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should ", "must ", 1)
    return f"{name}: {message}" if name else message


# How single parameters are checked.


class _MachineKind(WordKind):
    """``true`` or ``hangup``; a bool is accepted too."""

    def __init__(self) -> None:
        super().__init__("true", "hangup")

    def read(self, value: Any) -> str:
        return super().read("true" if value is True else value)


def _plainly(value: bool | None) -> str | None:
    return None if value is None else _FLAG.write(value)


def _destinations(value: Any) -> Any:
    """Bring destinations, one or many, to the form that Plivo accepts: joined by ``<``."""
    if isinstance(value, str):
        value = value.split("<")
    if not isinstance(value, Iterable):
        return value
    numbers = [dialable(each) if isinstance(each, str) else each for each in value]
    if not all(isinstance(each, str) for each in numbers):
        raise ValueError("must be a number or a list of numbers")
    if not numbers:
        raise ValueError("must be at least one number")
    if len(set(numbers)) > _MAX_DESTINATIONS:
        raise ValueError(
            f"has {len(set(numbers))} numbers; Plivo calls at most {_MAX_DESTINATIONS} at once"
        )
    return "<".join(dict.fromkeys(numbers))


_FLAG: Final = FlagKind()
_WEB_URL: Final = UrlKind("http", "https")

WebUrl = Annotated[str, _WEB_URL]
HttpMethod = Annotated[Method, WordKind("GET", "POST")]
PhoneNumber = Annotated[str, AfterValidator(dialable)]
_OptionalUrl = Annotated[str | None, _WEB_URL]
_OptionalMethod = Annotated[Method | None, WordKind("GET", "POST")]
_OptionalFlag = Annotated[bool | None, _FLAG]
_OptionalSeconds = Annotated[int | None, WholeKind(1)]
_OptionalWait = Annotated[int | None, WholeKind(0)]


class Request(BaseModel):
    """Parameters of a request, with values that Plivo accepts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def body(self) -> dict[str, Any]:
        """Return what to send as JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# Calls


class CallRequest(Request):
    """A call to make, or several at once (``POST Call/``).

    Plivo's asynchronous mode (``callback_url``) is not offered: its response names no call.
    """

    from_: PhoneNumber = Field(
        validation_alias=AliasChoices("from", "from_"), serialization_alias="from"
    )
    """The caller id: a number of the account."""
    to: Annotated[str, BeforeValidator(_destinations)]
    """A number with its country code or a SIP address; several joined by ``<``, or as a list."""
    answer_url: WebUrl
    """URL whose XML says what to do when the call is answered."""
    answer_method: _OptionalMethod = None
    ring_url: _OptionalUrl = None
    ring_method: _OptionalMethod = None
    hangup_url: _OptionalUrl = None
    """Receives the report of the call's end. Without it, Plivo sends the report to `answer_url`."""
    hangup_method: _OptionalMethod = None
    fallback_url: _OptionalUrl = None
    """Requested when `answer_url` has failed three times, or for 60 s."""
    fallback_method: _OptionalMethod = None
    caller_name: Annotated[str, Field(max_length=50)] | None = None
    send_digits: Annotated[str, Field(pattern=rf"^{_PAUSED_DIGITS}$")] | None = None
    """Keys to press when it is answered; ``w`` waits 0.5 s, ``W`` 1 s."""
    send_on_preanswer: _OptionalFlag = None
    time_limit: _OptionalSeconds = None
    """Longest call in seconds (Plivo's default is 14400)."""
    hangup_on_ring: _OptionalWait = None
    """Seconds of ringing after which to hang up."""
    machine_detection: Annotated[Literal["true", "hangup"] | None, _MachineKind()] = None
    machine_detection_time: Annotated[int | None, WholeKind(2000, 10_000)] = None
    machine_detection_url: _OptionalUrl = None
    """Receives the result during the call; without it, detection delays the answer URL."""
    machine_detection_method: _OptionalMethod = None
    machine_detection_maximum_speech_length: Annotated[int | None, WholeKind(1000, 6000)] = None
    machine_detection_initial_silence: Annotated[int | None, WholeKind(2000, 10_000)] = None
    machine_detection_maximum_words: Annotated[int | None, WholeKind(2, 10)] = None
    machine_detection_initial_greeting: Annotated[int | None, WholeKind(1000, 5000)] = None
    sip_headers: Annotated[str | None, SIP_HEADERS] = None
    """``key1=value1,key2=value2``, which the callbacks carry as ``X-PH-key1``."""
    ring_timeout: _OptionalWait = None
    """Seconds to let it ring (Plivo's default is 120)."""
    parent_call_uuid: str | None = None
    error_if_parent_not_found: _OptionalFlag = None

    @model_validator(mode="after")
    def _calls_somebody_else(self) -> Self:
        for number in self.destinations:
            if same_number(self.from_, number):
                raise ValueError(f"from and to are the same number, {number}")
        return self

    @property
    def destinations(self) -> list[str]:
        """The numbers and SIP addresses to call."""
        return self.to.split("<")


class TransferRequest(Request):
    """Transfer of a live call to other XML (``POST Call/{call_uuid}/``)."""

    legs: Annotated[Legs, WordKind("aleg", "bleg", "both")] = "aleg"
    aleg_url: _OptionalUrl = None
    aleg_method: _OptionalMethod = None
    bleg_url: _OptionalUrl = None
    bleg_method: _OptionalMethod = None

    @model_validator(mode="after")
    def _every_leg_has_a_url(self) -> Self:
        for leg, url in (("aleg", self.aleg_url), ("bleg", self.bleg_url)):
            if self.legs in (leg, "both") and url is None:
                raise ValueError(f"legs is {self.legs!r}, so {leg}_url must be set")
        return self


class DigitsRequest(Request):
    """Keys to press on a live call (``POST Call/{call_uuid}/DTMF/``)."""

    digits: Annotated[str, Field(pattern=r"^[0-9A-Da-d*#wW]+$")]
    leg: Annotated[Leg | None, WordKind("aleg", "bleg")] = None


# Streams


class StreamRequest(Request):
    """An audio stream to start on a live call (``POST Call/{call_uuid}/Stream/``)."""

    service_url: Annotated[str, SERVICE_URL]
    """``wss://`` URL that Plivo connects to; ``ws://`` is accepted too, as on its older pages."""
    bidirectional: Annotated[bool | None, BIDIRECTIONAL] = None
    """Whether the server may send audio too."""
    audio_track: Annotated[Track | None, AUDIO_TRACK] = None
    """Which voices are streamed: ``inbound`` by default, the caller's."""
    stream_timeout: Annotated[int | None, STREAM_TIMEOUT] = None
    """Longest stream in seconds."""
    content_type: Annotated[str | None, CONTENT_TYPE] = None
    """Format of the audio, also as an `AudioFormat`. Plivo's pages disagree about the default."""
    status_callback_url: Annotated[str | None, STATUS_CALLBACK_URL] = None
    status_callback_method: Annotated[Method | None, STATUS_CALLBACK_METHOD] = None
    extra_headers: Annotated[str | None, EXTRA_HEADERS] = None
    """``key1=value1,key2=value2``, also as a mapping. Only letters and digits."""
    noise_cancellation: Annotated[
        bool | None, NOISE_CANCELLATION, PlainSerializer(_plainly, return_type=str | None)
    ] = None
    """Sent as text, as Plivo requires."""
    noise_cancellation_level: Annotated[int | None, NOISE_CANCELLATION_LEVEL] = None
    """How much noise to remove, 60 to 100; 85 by default. Not sent without noise cancellation."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        check_combination(self)
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is ignored, a sentence each."""
        return warnings_of(self)

    def body(self) -> dict[str, Any]:
        """Return what to send as JSON, without what is ignored."""
        body = super().body()
        if ignores_level(self):
            del body["noise_cancellation_level"]
        return body


# Numbers and applications: which URLs handle the calls to a number


class NumberRequest(Request):
    """What to change about a number of the account (``POST Number/{number}/``)."""

    app_id: Annotated[str, Field(min_length=1)] | None = None
    alias: str | None = None
    subaccount: str | None = None


class ApplicationRequest(Request):
    """An application to make or change (``POST Application/``, ``Application/{app_id}/``).

    A change leaves parameters that are None as they are, the `hangup_url` included.
    """

    app_name: Annotated[str, Field(min_length=1)] | None = None
    answer_url: _OptionalUrl = None
    answer_method: _OptionalMethod = None
    hangup_url: _OptionalUrl = None
    hangup_method: _OptionalMethod = None
    fallback_answer_url: _OptionalUrl = None
    fallback_method: _OptionalMethod = None
    message_url: _OptionalUrl = None
    message_method: _OptionalMethod = None
    default_number_app: _OptionalFlag = None
    default_endpoint_app: _OptionalFlag = None
    subaccount: str | None = None
    log_incoming_messages: _OptionalFlag = None
    public_uri: _OptionalFlag = None


# Responses


def _whole(value: Any) -> Any:
    """Read a number that some pages show as a number and some as text."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _id(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _flag(value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


_Whole = Annotated[int | None, BeforeValidator(_whole)]
_Text = Annotated[str | None, BeforeValidator(_text)]
_Flag = Annotated[bool | None, BeforeValidator(_flag)]
_Id = Annotated[str, BeforeValidator(_id), Field(min_length=1)]


class Answer(BaseModel):
    """A response."""

    model_config = ConfigDict(extra="allow", frozen=True)

    api_id: _Text = None
    """Plivo's id of the request, which its support asks for."""


class Accepted(Answer):
    """The response to most requests that change something."""

    message: _Text = None


class CallCreated(Accepted):
    """One or several calls that were placed (``call fired``) or queued (``call queued``)."""

    request_uuid: _Id | Annotated[list[_Id], Field(min_length=1)]
    """The id of the request, one for each number; also the CallUUID of the call."""

    @property
    def request_uuids(self) -> list[str]:
        """The ids of all calls of the request."""
        return [self.request_uuid] if isinstance(self.request_uuid, str) else self.request_uuid

    @property
    def call_uuid(self) -> str:
        """The id of the call, or of the first of several."""
        return self.request_uuids[0]

    @property
    def queued(self) -> bool:
        """Whether the call waits for the account's limit of calls per second."""
        return "queued" in (self.message or "")


class Call(Answer):
    """A call that has ended (``GET Call/{call_uuid}/``)."""

    call_uuid: _Id
    call_direction: _Text = None
    from_number: _Text = None
    to_number: _Text = None
    initiation_time: _Text = None
    answer_time: _Text = None
    end_time: _Text = None
    call_duration: _Whole = None
    bill_duration: _Whole = None
    billed_duration: _Whole = None
    total_amount: _Text = None
    total_rate: _Text = None
    parent_call_uuid: _Text = None
    hangup_cause_name: _Text = None
    hangup_cause_code: _Whole = None
    hangup_source: _Text = None
    stir_verification: _Text = None
    stir_attestation: _Text = None
    voice_network_group: _Text = None
    source_ip: _Text = None
    cnam_lookup: _Text = None
    conference_uuid: _Text = None
    resource_uri: _Text = None


class LiveCall(Answer):
    """A live call (``GET Call/{call_uuid}/?status=live``)."""

    call_uuid: _Id
    call_status: _Text = None
    """``ringing`` or ``in-progress``."""
    direction: _Text = None
    from_: _Text = Field(
        default=None,
        validation_alias=AliasChoices("from", "from_"),
        serialization_alias="from",
    )
    to: _Text = None
    caller_name: _Text = None
    request_uuid: _Text = None
    session_start: _Text = None
    stir_verification: _Text = None


class Meta(BaseModel):
    """The place of a page in its list."""

    model_config = ConfigDict(extra="allow", frozen=True)

    limit: _Whole = None
    offset: _Whole = None
    total_count: _Whole = Field(default=None, validation_alias=AliasChoices("total_count", "count"))
    """Length of the whole list; some responses name it ``count``."""
    next: _Text = None
    """Path of the next page, or None on the last one."""
    previous: _Text = None

    @property
    def next_page(self) -> dict[str, Any] | None:
        """The parameters that ask for the next page, or None on the last one."""
        if not self.next:
            return None
        query = parse_qs(urlsplit(self.next).query)
        # A cursor takes the place of the offset.
        for name in ("cursor", "offset"):
            if name in query:
                page = {"limit": query["limit"][0]} if "limit" in query else {}
                page[name] = query[name][0]
                return {key: int(text) if text.isdecimal() else text for key, text in page.items()}
        return None


class LiveCallList(Answer):
    """The ids of live calls (``GET Call/?status=live``)."""

    calls: list[_Id] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _from_objects(cls, value: Any) -> Any:
        """Take the ids from ``objects``, as in Plivo's other lists."""
        if isinstance(value, Mapping) and "calls" not in value:
            objects = value.get("objects")
            if isinstance(objects, list) and all(isinstance(each, Mapping) for each in objects):
                return {**value, "calls": [each.get("call_uuid") for each in objects]}
        return value


class CallList(Answer):
    """A page of calls that have ended (``GET Call/``)."""

    meta: Meta = Field(default_factory=Meta)
    objects: list[Call] = Field(default_factory=list)


class StreamCreated(Accepted):
    """A stream that Plivo is about to connect (``audio streaming started``)."""

    stream_id: _Id


class StreamObject(Answer):
    """A stream, live or ended (``GET Call/{call_uuid}/Stream/{stream_id}/``).

    Times are as Plivo writes them, such as ``2023-06-21 18:53:16+05:30``, or None.
    """

    stream_id: _Id
    call_uuid: _Text = None
    service_url: _Text = None
    bidirectional: _Flag = None
    audio_track: _Text = None
    content_type: _Text = None
    start_time: _Text = None
    end_time: _Text = None
    bill_duration: _Whole = None
    """Length in seconds."""
    rounded_bill_duration: _Whole = None
    """Billed length in seconds."""
    billed_amount: _Text = None
    """Price in US dollars, as a decimal: ``0.00300``."""
    status: _Text = None
    status_callback_url: _Text = None
    created_at: _Text = None
    plivo_auth_id: _Text = None
    resource_uri: _Text = None


class StreamList(Answer):
    """The streams of a call (``GET Call/{call_uuid}/Stream/``)."""

    meta: Meta = Field(default_factory=Meta)
    objects: list[StreamObject] = Field(default_factory=list)


class Number(Answer):
    """A phone number of the account (``GET Number/{number}/``)."""

    number: _Id
    alias: _Text = None
    application: _Text = None
    """Path of the application that answers its calls."""
    number_type: _Text = None
    region: _Text = None
    carrier: _Text = None
    sub_account: _Text = None
    voice_enabled: _Flag = None
    sms_enabled: _Flag = None
    added_on: _Text = None
    renewal_date: _Text = None
    monthly_rental_rate: _Text = None
    voice_rate: _Text = None
    sms_rate: _Text = None
    resource_uri: _Text = None

    @property
    def app_id(self) -> str | None:
        """The id of the application that answers its calls, or None if none does."""
        return (self.application or "").rstrip("/").rpartition("/")[2] or None


class Application(Answer):
    """The URLs that handle the calls to a number (``GET Application/{app_id}/``)."""

    app_id: _Id
    app_name: _Text = None
    answer_url: _Text = None
    answer_method: _Text = None
    hangup_url: _Text = None
    hangup_method: _Text = None
    fallback_answer_url: _Text = None
    fallback_method: _Text = None
    message_url: _Text = None
    message_method: _Text = None
    default_app: _Flag = None
    default_endpoint_app: _Flag = None
    enabled: _Flag = None
    public_uri: _Flag = None
    sip_uri: _Text = None
    sub_account: _Text = None
    log_incoming_messages: _Flag = Field(
        default=None,
        validation_alias=AliasChoices("log_incoming_messages", "log_incoming_message"),
    )
    resource_uri: _Text = None


class ApplicationCreated(Accepted):
    """A new application."""

    app_id: _Id


class ApplicationList(Answer):
    """A page of applications (``GET Application/``)."""

    meta: Meta = Field(default_factory=Meta)
    objects: list[Application] = Field(default_factory=list)
