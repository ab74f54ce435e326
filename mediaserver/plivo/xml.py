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
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K


MAX_DOCUMENT: Final = 102_400
"""Largest document that Plivo accepts, in bytes: 100 KB."""
MAX_URL: Final = 2048
"""Longest stream URL that Plivo accepts, in characters."""
MAX_EXTRA_HEADERS: Final = 512
"""Longest ``extraHeaders`` that Plivo accepts, in bytes."""
MAX_STREAM_TIMEOUT: Final = 86_400
"""Longest stream, and the default limit, in seconds."""

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


# Kinds of attributes. `write` and `read` raise ValueError, saying what is allowed.


class _Kind(Protocol):
    def write(self, value: Any) -> str: ...
    def read(self, text: str) -> Any: ...


class _Text:
    def write(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {value!r:.40}")
        return value

    def read(self, text: str) -> str:
        return text


class _Flag:
    def write(self, value: Any) -> str:
        if not isinstance(value, bool):
            raise ValueError(f"must be True or False, not {value!r:.40}")
        return "true" if value else "false"

    def read(self, text: str) -> bool:
        lower = text.strip().lower()
        if lower not in ("true", "false"):
            raise ValueError(f'must be "true" or "false", not {text!r:.40}')
        return lower == "true"


@dataclass(frozen=True, slots=True)
class _Whole:
    least: int
    most: int | None = None

    def write(self, value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, not {value!r:.40}")
        if value < self.least or (self.most is not None and value > self.most):
            span = f"at least {self.least}" if self.most is None else f"{self.least} to {self.most}"
            raise ValueError(f"must be {span}, not {value}")
        return str(value)

    def read(self, text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
            raise ValueError(f"must be a whole number, not {text!r:.40}")
        return int(text)


class _Word:
    def __init__(self, *words: str) -> None:
        self._words = words

    def write(self, value: Any) -> str:
        if value not in self._words:
            raise ValueError(f"must be {' or '.join(self._words)}, not {value!r:.40}")
        return str(value)

    def read(self, text: str) -> str:
        lower = text.strip().lower()
        return next((word for word in self._words if word.lower() == lower), text)


class _Url:
    def __init__(self, *schemes: str, longest: int | None = None) -> None:
        self._schemes = schemes
        self._longest = longest

    def write(self, value: Any) -> str:
        if not isinstance(value, str) or not _is_url(value, self._schemes):
            kinds = " or ".join(f"{scheme}://" for scheme in self._schemes)
            raise ValueError(f"must be a URL that begins with {kinds}, not {value!r:.80}")
        if self._longest is not None and len(value) > self._longest:
            raise ValueError(
                f"must have at most {self._longest} characters; this URL has {len(value)}"
            )
        return value

    def read(self, text: str) -> str:
        return text.strip()


def _is_url(text: str, schemes: Sequence[str]) -> bool:
    if re.search(r"[\s\x00-\x1f]", text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname)
    except ValueError:
        return False


class _ExtraHeaders(_Text):
    def write(self, value: Any) -> str:
        text = super().write(value)
        size = len(text.encode("utf-8", "replace"))
        if size > MAX_EXTRA_HEADERS:
            raise ValueError(f"must have at most {MAX_EXTRA_HEADERS} bytes, not {size}")
        return text


_TEXT: Final = _Text()
_FLAG: Final = _Flag()
_COUNT: Final = _Whole(0)
_POSITIVE: Final = _Whole(1)
_WEB: Final = _Url("http", "https")
_METHOD: Final = _Word("GET", "POST")


def _attribute(kind: _Kind) -> Any:
    return field(default=None, kw_only=True, metadata={"kind": kind})


@dataclass(frozen=True)
class Element:
    """An element of the document."""

    text_kind: ClassVar[_Kind | None] = None
    """How the text between the tags is written and read; None for an element without text."""
    children: ClassVar[tuple[str, ...]] = ()
    """Names of the elements that this one may contain."""

    def __post_init__(self) -> None:
        for name, kind in self.kinds():
            value = getattr(self, name)
            if value is not None:
                self._check(_camel(name), kind, value)
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
    def kinds(cls) -> Iterator[tuple[str, _Kind]]:
        """Yield the field of each attribute, and how it is written and read."""
        return ((each.name, each.metadata["kind"]) for each in fields(cls) if each.metadata)

    def inside(self) -> tuple[str | Element | Ssml, ...]:
        """Return the text between the tags: the value of the field that is not an attribute."""
        for each in fields(self):
            if not each.metadata:
                value = getattr(self, each.name)
                return tuple(value) if isinstance(value, tuple | list) else (value,)
        return ()

    def _check(self, name: str, kind: _Kind, value: Any) -> None:
        try:
            written = kind.write(value)
        except ValueError as error:
            raise XmlError("bad_attribute", f"{name} of <{self.name}> {error}") from None
        if _UNWRITABLE.search(written):
            raise XmlError(
                "bad_attribute", f"{name} of <{self.name}> has characters that XML cannot represent"
            )

    def _check_text(self, text: str) -> None:
        if self.text_kind is None:
            raise XmlError("bad_text", f"<{self.name}> takes no text, but {text!r:.40} was given")
        try:
            self.text_kind.write(text)
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

    text_kind = _Url("wss", "ws", longest=MAX_URL)

    url: str
    bidirectional: bool | None = _attribute(_FLAG)
    audio_track: Literal["inbound", "outbound", "both"] | None = _attribute(
        _Word("inbound", "outbound", "both")
    )
    stream_timeout: int | None = _attribute(_Whole(1, MAX_STREAM_TIMEOUT))
    """Seconds; Plivo's default is 86400."""
    status_callback_url: str | None = _attribute(_WEB)
    status_callback_method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    content_type: str | None = _attribute(
        _Word(*(str(each) for each in (L16_8K, L16_16K, L16_24K, MULAW_8K)))
    )
    """Such as ``audio/x-mulaw;rate=8000``. Plivo's pages disagree on the default: set it."""
    extra_headers: str | None = _attribute(_ExtraHeaders())
    """``key=value,key=value``, repeated in the stream's start event. Not for secrets."""
    keep_call_alive: bool | None = _attribute(_FLAG)
    noise_cancellation: bool | None = _attribute(_FLAG)
    noise_cancellation_level: int | None = _attribute(_Whole(60, 100))
    """Plivo's default is 85."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bidirectional and self.audio_track in ("outbound", "both"):
            raise XmlError(
                "bad_attribute",
                f'audioTrack of <Stream> cannot be "{self.audio_track}" with bidirectional="true":'
                ' leave it out, or use "inbound"',
            )
        if self.noise_cancellation_level is not None and not self.noise_cancellation:
            raise XmlError(
                "bad_attribute",
                "noiseCancellationLevel of <Stream> needs noiseCancellation to be true",
            )


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

    reason: Literal["rejected", "busy"] | None = _attribute(_Word("rejected", "busy"))
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
    sip_headers: str | None = _attribute(_TEXT)


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
    sip_headers: str | None = _attribute(_TEXT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise XmlError("bad_text", "<Dial> is empty: it needs a <Number> or a <User>")


@dataclass(frozen=True)
class Record(Element):
    """Record the caller; with `record_session` the whole call, while later elements run."""

    action: str | None = _attribute(_WEB)
    method: Literal["GET", "POST"] | None = _attribute(_METHOD)
    file_format: Literal["mp3", "wav"] | None = _attribute(_Word("mp3", "wav"))
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
    """What `parse_response` ignored, a line each."""

    def __init__(self, *elements: Instruction, warnings: Sequence[str] = ()) -> None:
        object.__setattr__(self, "elements", elements)
        object.__setattr__(self, "warnings", tuple(warnings))
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
        known = {_camel(name): (name, each) for name, each in kind.kinds()}
        values: dict[str, Any] = {}
        for attribute, text in opened.attributes.items():
            if attribute not in known:
                self._warnings.append(
                    f"line {opened.line}: <{opened.name}> has no attribute {attribute!r:.40}"
                )
                continue
            name, each = known[attribute]
            try:
                values[name] = each.read(text)
            except ValueError as error:
                raise XmlError("bad_attribute", f"{attribute} of <{opened.name}> {error}") from None
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
