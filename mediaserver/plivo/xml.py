"""Writes and reads Plivo's XML, with which an answer URL replies.

    Response(
        Stream("wss://voice.example.com/stream", bidirectional=True, keep_call_alive=True),
        Hangup(),
    ).to_xml()

Attributes have the names of Plivo's pages, in snake case; those that are None are left out. An
element that Plivo would refuse raises `XmlError` when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, TypeAlias
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from mediaserver.plivo.parameter_kinds import (
    SIP_HEADERS,
    FlagKind,
    ParameterKind,
    TextKind,
    UrlKind,
    WholeKind,
    WordKind,
)
from mediaserver.plivo.stream_parameters import (
    AUDIO_TRACK,
    BIDIRECTIONAL,
    CONTENT_TYPE,
    EXTRA_HEADERS,
    KEEP_CALL_ALIVE,
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


MAX_DOCUMENT: Final = 102_400
"""Largest document that Plivo accepts, in bytes: 100 KB."""
Reason: TypeAlias = Literal[
    "too_large",
    "not_xml",
    "forbidden",
    "not_response",
    "unknown_element",
    "unsupported_element",
    "misplaced_element",
    "bad_text",
    "bad_attribute",
]


class XmlError(ValueError):
    """Plivo would refuse the document or element.

    Attributes:
        reason: A short fixed code, one of `Reason`.
        line: Line of the document, counted from 1; None for an element that was not parsed.

    """

    def __init__(self, reason: Reason, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.reason: Reason = reason
        self.line = line
        self.detail = message


_TEXT: Final = TextKind()
_FLAG: Final = FlagKind()
_COUNT: Final = WholeKind(0)
_POSITIVE: Final = WholeKind(1)
_WEB: Final = UrlKind("http", "https")
_METHOD: Final = WordKind("GET", "POST")


def _attribute(kind: ParameterKind) -> Any:
    return field(default=None, kw_only=True, metadata={"kind": kind})


@dataclass(frozen=True)
class Element:
    """An element of the document."""

    text_kind: ClassVar[ParameterKind | None] = None
    """How the text between the tags is written and read; None for an element without text."""
    children: ClassVar[tuple[str, ...]] = ()
    """Names of the elements that this one may contain."""

    def __post_init__(self) -> None:
        for name, kind in self.kinds():
            object.__setattr__(self, name, self._read(_camel(name), kind, getattr(self, name)))
        for content in self.inside():
            if not isinstance(content, Element | Ssml):
                self._check_text(content)
            elif content.name not in self.children:
                raise XmlError(
                    "misplaced_element", f"<{content.name}> cannot stand in <{self.name}>"
                )

    @property
    def name(self) -> str:
        """The element's tag."""
        return type(self).__name__

    @classmethod
    def kinds(cls) -> Iterator[tuple[str, ParameterKind]]:
        """Yield the field of each attribute, and how it is written and read."""
        return ((each.name, each.metadata["kind"]) for each in fields(cls) if each.metadata)

    def inside(self) -> tuple[str | Element | Ssml, ...]:
        """Return the text between the tags: the value of the field that is not an attribute."""
        for each in fields(self):
            if not each.metadata:
                value = getattr(self, each.name)
                return tuple(value) if isinstance(value, tuple | list) else (value,)
        return ()

    def _read(self, name: str, kind: ParameterKind, given: Any) -> Any:
        try:
            value = kind.read_optional(given)
        except ValueError as error:
            raise XmlError("bad_attribute", f"{name} of <{self.name}> {error}") from None
        if value is not None and _UNWRITABLE.search(kind.write(value)):
            raise XmlError(
                "bad_attribute", f"{name} of <{self.name}> has characters that XML cannot represent"
            )
        return value

    def _check_text(self, text: str) -> None:
        if self.text_kind is None:
            raise XmlError("bad_text", f"<{self.name}> takes no text, but {text!r:.40} was given")
        try:
            self.text_kind.read(text)
        except ValueError as error:
            raise XmlError("bad_text", f"the text of <{self.name}> {error}") from None
        if not text or text.isspace():
            raise XmlError("bad_text", f"<{self.name}> is empty")
        if _UNWRITABLE.search(text):
            raise XmlError("bad_text", f"<{self.name}> has characters that XML cannot represent")

    def written_attributes(self) -> Iterator[tuple[str, str]]:
        """Yield the attributes that are set, as the document has them."""
        for name, kind in self.kinds():
            value = getattr(self, name)
            if value is not None:
                yield _camel(name), kind.write(value)


# Characters that XML 1.0 cannot represent, not even as a reference.
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Stream(Element):
    """Stream the call's audio to a WebSocket, and with `bidirectional` audio back to the call.

    Later elements run when the stream has ended if `keep_call_alive` is set; without it, and with
    nothing after it, the call ends.
    """

    text_kind = SERVICE_URL

    url: str
    bidirectional: bool | None = _attribute(BIDIRECTIONAL)
    audio_track: Literal["inbound", "outbound", "both"] | None = _attribute(AUDIO_TRACK)
    stream_timeout: int | None = _attribute(STREAM_TIMEOUT)
    """Seconds; Plivo's default is 86400."""
    status_callback_url: str | None = _attribute(STATUS_CALLBACK_URL)
    status_callback_method: Literal["GET", "POST"] | None = _attribute(STATUS_CALLBACK_METHOD)
    content_type: str | None = _attribute(CONTENT_TYPE)
    """Such as ``audio/x-mulaw;rate=8000``. Plivo's pages disagree on the default: set it."""
    extra_headers: str | None = _attribute(EXTRA_HEADERS)
    """``key=value,key=value`` of letters and digits, repeated in the stream's start event. Not for
    secrets."""
    keep_call_alive: bool | None = _attribute(KEEP_CALL_ALIVE)
    noise_cancellation: bool | None = _attribute(NOISE_CANCELLATION)
    noise_cancellation_level: int | None = _attribute(NOISE_CANCELLATION_LEVEL)
    """Plivo's default is 85. Not written without noise cancellation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_combination(self, _camel)
        except ValueError as error:
            raise XmlError("bad_attribute", f"<Stream>: {error}") from None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is ignored, a sentence each."""
        return warnings_of(self, _camel)

    def written_attributes(self) -> Iterator[tuple[str, str]]:
        """Yield the attributes that are set and not ignored, as the document has them."""
        ignored = "noiseCancellationLevel" if ignores_level(self) else None
        return (each for each in super().written_attributes() if each[0] != ignored)


@dataclass(frozen=True)
class Ssml:
    """A tag inside `Speak`, such as ``Ssml("break", {"time": "1s"})``."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    content: Spoken = ""

    def __post_init__(self) -> None:
        if self.name not in SSML_TAGS:
            raise XmlError(
                "unknown_element",
                f"<{self.name}> is not a tag of <Speak>; its tags are {_SSML_LIST}",
            )
        for name, value in self.attributes.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_:.-]*", name) or _UNWRITABLE.search(value):
                raise XmlError("bad_attribute", f"{name!r:.40} of <{self.name}> cannot be written")

    def written_attributes(self) -> Iterator[tuple[str, str]]:
        """Yield the attributes that are set, as the document has them."""
        return iter(self.attributes.items())

    def inside(self) -> tuple[str | Ssml, ...]:
        """Return what stands between the tags."""
        return _pieces(self.content)


Spoken: TypeAlias = str | tuple[str | Ssml, ...]
"""Text to speak, with or without tags."""

SSML_TAGS: Final = (
    "break",
    "emphasis",
    "lang",
    "p",
    "phoneme",
    "prosody",
    "s",
    "say-as",
    "sub",
    "w",
)
_SSML_LIST: Final = ", ".join(SSML_TAGS)


def _pieces(content: Spoken) -> tuple[str | Ssml, ...]:
    if isinstance(content, str):
        return (content,) if content else ()
    return content


def _words(content: Spoken) -> str:
    return "".join(
        each if isinstance(each, str) else _words(each.content) for each in _pieces(content)
    )


@dataclass(frozen=True)
class Speak(Element):
    """Say something to the caller."""

    text_kind = _TEXT
    children = SSML_TAGS

    content: Spoken
    voice: str | None = _attribute(_TEXT)
    language: str | None = _attribute(_TEXT)
    loop: int | None = _attribute(_COUNT)
    """How many times; 0 means without end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.content:
            raise XmlError("bad_text", "<Speak> is empty")

    @property
    def text(self) -> str:
        """The text to speak, without tags."""
        return _words(self.content)

    def _check_text(self, text: str) -> None:
        # A space alone may stand between two tags.
        if _UNWRITABLE.search(text) or (isinstance(self.content, str) and text.isspace()):
            super()._check_text(text)


@dataclass(frozen=True)
class Play(Element):
    """Play an audio file, MP3 or WAV, to the caller."""

    text_kind = _WEB

    url: str
    loop: int | None = _attribute(_COUNT)
    """How many times; 0 means without end."""


@dataclass(frozen=True)
class Wait(Element):
    """Wait."""

    length: int | None = _attribute(_POSITIVE)
    """Seconds; Plivo's default is 1."""
    silence: bool | None = _attribute(_FLAG)
    """Continue as soon as the caller is silent."""
    min_silence: int | None = _attribute(_POSITIVE)
    """Shortest silence that counts, in milliseconds."""
    beep: bool | None = _attribute(_FLAG)
    """Continue when an answering machine has beeped."""


@dataclass(frozen=True)
class Redirect(Element):
    """Continue with other XML."""

    text_kind = _WEB

    url: str
    method: Literal["GET", "POST"] | None = _attribute(_METHOD)


@dataclass(frozen=True)
class Hangup(Element):
    """End the call; as the first element, reject it."""

    reason: Literal["rejected", "busy"] | None = _attribute(WordKind("rejected", "busy"))
    schedule: int | None = _attribute(_POSITIVE)
    """Delay in seconds, during which the following elements run."""


@dataclass(frozen=True)
class Number(Element):
    """A telephone number to dial."""

    text_kind = _TEXT

    number: str
    send_digits: str | None = _attribute(_TEXT)
    send_on_preanswer: bool | None = _attribute(_FLAG)
    send_digits_mode: str | None = _attribute(_TEXT)


@dataclass(frozen=True)
class User(Element):
    """A SIP endpoint to dial."""

    text_kind = _TEXT

    sip_uri: str
    send_digits: str | None = _attribute(_TEXT)
    send_on_preanswer: bool | None = _attribute(_FLAG)
    sip_headers: str | None = _attribute(SIP_HEADERS)


@dataclass(frozen=True)
class Dial(Element):
    """Connect the caller with the first of several targets to answer."""

    children = ("Number", "User")

    targets: tuple[Number | User, ...]
    action: str | None = _attribute(_WEB)
    method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    hangup_on_star: bool | None = _attribute(_FLAG)
    time_limit: int | None = _attribute(_POSITIVE)
    timeout: int | None = _attribute(_POSITIVE)
    caller_id: str | None = _attribute(_TEXT)
    caller_name: str | None = _attribute(_TEXT)
    confirm_sound: str | None = _attribute(_WEB)
    confirm_timeout: int | None = _attribute(_POSITIVE)
    confirm_key: str | None = _attribute(_TEXT)
    dial_music: str | None = _attribute(_TEXT)
    """URL of XML that the caller hears meanwhile, or ``real`` for the real ringing tone."""
    callback_url: str | None = _attribute(_WEB)
    callback_method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    redirect: bool | None = _attribute(_FLAG)
    digits_match: str | None = _attribute(_TEXT)
    digits_match_b_leg: str | None = _attribute(_TEXT)
    sip_headers: str | None = _attribute(SIP_HEADERS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise XmlError("bad_text", "<Dial> is empty: it needs a <Number> or a <User>")


@dataclass(frozen=True)
class Record(Element):
    """Record the caller; with `record_session` the whole call, while later elements run."""

    action: str | None = _attribute(_WEB)
    method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    file_format: Literal["mp3", "wav"] | None = _attribute(WordKind("mp3", "wav"))
    redirect: bool | None = _attribute(_FLAG)
    timeout: int | None = _attribute(_POSITIVE)
    max_length: int | None = _attribute(_POSITIVE)
    """Seconds; Plivo's default is 60."""
    play_beep: bool | None = _attribute(_FLAG)
    finish_on_key: str | None = _attribute(_TEXT)
    record_session: bool | None = _attribute(_FLAG)
    start_on_dial_answer: bool | None = _attribute(_FLAG)
    transcription_type: str | None = _attribute(_TEXT)
    transcription_url: str | None = _attribute(_WEB)
    transcription_method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    transcription_report_type: str | None = _attribute(_TEXT)
    callback_url: str | None = _attribute(_WEB)
    callback_method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    record_channel_type: str | None = _attribute(_TEXT)


@dataclass(frozen=True)
class GetDigits(Element):
    """Collect keys that the caller presses, while the prompts in it play."""

    children = ("Speak", "Play", "Wait")

    prompts: tuple[Speak | Play | Wait, ...] = ()
    action: str | None = _attribute(_WEB)
    method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    timeout: int | None = _attribute(_POSITIVE)
    digit_timeout: int | None = _attribute(_POSITIVE)
    finish_on_key: str | None = _attribute(_TEXT)
    num_digits: int | None = _attribute(_POSITIVE)
    retries: int | None = _attribute(_POSITIVE)
    redirect: bool | None = _attribute(_FLAG)
    play_beep: bool | None = _attribute(_FLAG)
    valid_digits: str | None = _attribute(_TEXT)
    invalid_digits_sound: str | None = _attribute(_WEB)
    log: bool | None = _attribute(_FLAG)


Instruction: TypeAlias = (
    Stream | Speak | Play | Wait | Dial | Redirect | Hangup | Record | GetDigits
)
"""Elements that a `Response` may contain."""


@dataclass(frozen=True, init=False)
class Response(Element):
    """The whole document: Plivo runs its elements one after the other."""

    children = tuple(each.__name__ for each in Instruction.__args__)

    elements: tuple[Instruction, ...]
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is ignored, a line each."""

    def __init__(self, *elements: Instruction, warnings: Sequence[str] = ()) -> None:
        object.__setattr__(self, "elements", elements)
        streams = [each for each in elements if isinstance(each, Stream)]
        ignored = [f"<Stream>: {warning}" for each in streams for warning in each.warnings]
        object.__setattr__(self, "warnings", (*warnings, *ignored))
        self.__post_init__()

    def to_xml(self) -> bytes:
        """Write the document, in UTF-8.

        Raises:
            XmlError: ``too_large``.

        """
        document = f'<?xml version="1.0" encoding="UTF-8"?>\n{_written(self)}'.encode()
        if len(document) > MAX_DOCUMENT:
            raise XmlError("too_large", _too_large(len(document)))
        return document


def _written(element: Element | Ssml) -> str:
    attributes = "".join(
        f" {name}={quoteattr(text)}" for name, text in element.written_attributes()
    )
    inside = "".join(
        escape(each, {"\r": "&#13;"}) if isinstance(each, str) else _written(each)
        for each in element.inside()
    )
    if not inside:
        return f"<{element.name}{attributes}/>"
    return f"<{element.name}{attributes}>{inside}</{element.name}>"


def _too_large(size: int) -> str:
    return f"the document has {size} bytes; Plivo accepts {MAX_DOCUMENT} (100 KB)"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# Reading.

_OTHERS: Final = (
    "Conference",
    "DTMF",
    "GetInput",
    "Message",
    "MultiPartyCall",
    "PreAnswer",
)
_ELEMENTS: Final[Mapping[str, type[Element]]] = {
    each.__name__: each
    for each in (
        *(Response, Stream, Speak, Play, Wait, Dial, Number, User),
        *(Redirect, Hangup, Record, GetDigits),
    )
}
_DEEPEST: Final = 16


def parse_response(document: bytes | str) -> Response:
    """Read the reply of an answer URL as Plivo would.

    Whitespace around a URL or a text is dropped, and unknown attributes are ignored with a line in
    `Response.warnings`. Entities and document types are refused before they are read, so that none
    can expand or fetch anything.

    Raises:
        XmlError: The document is invalid; the message names the line.

    """
    if isinstance(document, str):
        document = document.encode("utf-8", "surrogatepass")
    if len(document) > MAX_DOCUMENT:
        raise XmlError("too_large", _too_large(len(document)))
    return _Reader().read(document)


@dataclass
class _Open:
    """An element whose end tag has not come yet."""

    name: str
    attributes: dict[str, str]
    line: int
    content: list[str | Element | Ssml] = field(default_factory=list)

    def add_text(self, text: str) -> None:
        if self.content and isinstance(last := self.content[-1], str):
            self.content[-1] = last + text
        else:
            self.content.append(text)


class _Reader:
    def __init__(self) -> None:
        self._parser = parser = expat.ParserCreate()
        self._stack: list[_Open] = []
        self._root: Response | None = None
        self._warnings: list[str] = []
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.EntityDeclHandler = self._refuse_doctype

    def read(self, document: bytes) -> Response:
        try:
            self._parser.Parse(document, True)
        except expat.ExpatError as error:
            raise XmlError(
                "not_xml", f"not XML: {expat.ErrorString(error.code)}", error.lineno
            ) from None
        except (LookupError, UnicodeError, ValueError) as error:
            if isinstance(error, XmlError):
                raise
            raise XmlError("not_xml", f"not XML: {error}", self._line) from None
        assert self._root is not None, "expat has seen the end of the root"
        return self._root

    @property
    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _refuse_doctype(self, *_: object) -> None:
        raise XmlError(
            "forbidden", "Plivo XML must not declare a document type or entity", self._line
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._stack) >= _DEEPEST:
            raise XmlError("misplaced_element", "elements are nested too deeply", self._line)
        if not self._stack:
            if name != "Response":
                raise XmlError(
                    "not_response", f"the root is <{name:.40}>; it must be <Response>", self._line
                )
        else:
            self._check_place(name, self._stack[-1].name)
        self._stack.append(_Open(name, attributes, self._line))

    def _check_place(self, name: str, parent: str) -> None:
        owner = _ELEMENTS.get(parent)
        allowed = SSML_TAGS if owner is None else owner.children
        if name in allowed:
            return
        if name in _OTHERS:
            raise XmlError(
                "unsupported_element",
                f"<{name}> is an element of Plivo's that is not supported here",
                self._line,
            )
        may = ", ".join(allowed) or "nothing"
        if name in _ELEMENTS or name in SSML_TAGS:
            raise XmlError(
                "misplaced_element",
                f"<{name}> cannot stand in <{parent}>, which may contain {may}",
                self._line,
            )
        raise XmlError(
            "unknown_element",
            f"<{name:.40}> is not an element of Plivo's; <{parent}> may contain {may}",
            self._line,
        )

    def _text(self, text: str) -> None:
        self._stack[-1].add_text(text)

    def _end(self, name: str) -> None:
        opened = self._stack.pop()
        try:
            element = self._build(opened)
        except XmlError as error:
            raise XmlError(error.reason, error.detail, opened.line) from None
        if isinstance(element, Response):
            self._root = element
        else:
            self._stack[-1].content.append(element)

    def _build(self, opened: _Open) -> Element | Ssml:
        if opened.name in SSML_TAGS:
            return Ssml(opened.name, opened.attributes, _spoken(opened.content))
        kind = _ELEMENTS[opened.name]
        values = self._values(kind, opened)
        if kind is Speak:
            return Speak(_spoken(_trimmed(opened.content)), **values)
        text = "".join(each for each in opened.content if isinstance(each, str)).strip()
        children: tuple[Any, ...] = tuple(
            each for each in opened.content if not isinstance(each, str)
        )
        make: Callable[..., Element] = kind
        if kind.text_kind is not None:
            return make(text, **values)
        if text:
            raise XmlError("bad_text", f"<{opened.name}> takes no text, but {text!r:.40} was given")
        if kind is Response:
            return Response(*children, warnings=self._warnings)
        return make(children, **values) if kind.children else make(**values)

    def _values(self, kind: type[Element], opened: _Open) -> dict[str, Any]:
        known = {_camel(name): name for name, _ in kind.kinds()}
        values: dict[str, Any] = {}
        for attribute, text in opened.attributes.items():
            if attribute not in known:
                self._warnings.append(
                    f"line {opened.line}: <{opened.name}> has no attribute {attribute!r:.40}"
                )
                continue
            values[known[attribute]] = text
        return values


def _trimmed(content: list[Any]) -> list[Any]:
    """Drop the whitespace at both ends."""
    content = list(content)
    if content and isinstance(content[0], str):
        content[0] = content[0].lstrip()
    if content and isinstance(content[-1], str):
        content[-1] = content[-1].rstrip()
    return [each for each in content if each != ""]


def _spoken(content: list[Any]) -> Spoken:
    if all(isinstance(each, str) for each in content):
        return "".join(content)
    return tuple(content)
