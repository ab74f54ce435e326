"""How a call is to be streamed: every attribute of ``<Stream>`` but its URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from audiocodecs import AudioFormat
from mediaserver.plivo.parameter_kinds import UrlKind
from mediaserver.plivo.stream_parameters import (
    STREAM_PARAMETERS,
    check_combination,
    warnings_of,
)


HANG_UP: Final = "hangup"
"""The value of `StreamOptions.on_end` that ends the call."""

_XML_URL: Final = UrlKind("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a call is to be streamed, by the rules of Plivo's pages.

    What is None is left to the next level: what `Handler.on_answer` returns for one call comes
    first, then the route, then the settings of the server, then Plivo's defaults.

    Args:
        bidirectional: whether audio can be played to the caller. The server's default is True.
        audio_track: what is streamed: ``inbound`` is the caller, ``outbound`` what the caller
            hears. Only a stream that is not bidirectional carries ``outbound`` or ``both``.
        stream_timeout: the longest stream, in seconds.
        content_type: the format of the audio, such as ``audio/x-l16;rate=16000``.
        extra_headers: names and values of letters and digits, which come back as
            ``stream.extra_headers``. Not for secrets.
        keep_call_alive: whether the call waits for the end of the stream before it goes on with
            `on_end`. Without it, the call goes on at once, beside the stream.
        noise_cancellation: whether noise is removed from the caller's audio.
        noise_cancellation_level: how strongly, 60 to 100.
        status_callback_url: a URL of your own for the events of the stream; this server's handlers
            do not get them then.
        status_callback_method: ``GET`` or ``POST``.
        on_end: what the call does after `keep_call_alive`: ``hangup``, or the URL of Plivo XML.

    Raises:
        ValueError: a value is not allowed. The message has a line for each.

    """

    bidirectional: bool | None = None
    audio_track: Literal["inbound", "outbound", "both"] | None = None
    stream_timeout: int | None = None
    content_type: AudioFormat | str | None = None
    extra_headers: Mapping[str, str] | str | None = None
    keep_call_alive: bool | None = None
    noise_cancellation: bool | None = None
    noise_cancellation_level: int | None = None
    status_callback_url: str | None = None
    status_callback_method: Literal["GET", "POST"] | None = None
    on_end: str | None = None

    def __post_init__(self) -> None:
        problems = []
        for each in fields(self):
            try:
                read = _read(each.name, getattr(self, each.name))
                object.__setattr__(self, each.name, read)
            except ValueError as error:
                problems.append(f"{each.name} {error}")
        if problems:
            raise ValueError("\n".join(problems))

    def over(self, other: StreamOptions) -> StreamOptions:
        """Return these options, and those of `other` where these have none."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(other, **{name: value for name, value in named.items() if value is not None})

    def check(self) -> None:
        """Check what the options must be to each other, once none is left to another level.

        Raises:
            ValueError: Plivo would refuse them together, or the call would end at once.

        """
        try:
            check_combination(self)
        except ValueError as error:
            raise ValueError(f"{error}; or turn bidirectional off") from None
        if self.keep_call_alive is False and self.on_end in (None, HANG_UP):
            raise ValueError(
                "keep_call_alive is off, so the call would hang up as soon as its stream begins: "
                "set on_end to the URL of the XML with which the call goes on"
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What Plivo ignores among them, a sentence each."""
        return warnings_of(self)

    def attributes(self) -> dict[str, Any]:
        """Return those that are set, as keyword arguments of `xml.Stream`."""
        named = {name: getattr(self, name) for name in STREAM_PARAMETERS}
        return {name: value for name, value in named.items() if value is not None}


def _read(name: str, value: Any) -> Any:
    if name == "on_end":
        return value if value == HANG_UP else _XML_URL.read_optional(value)
    return STREAM_PARAMETERS[name].read_optional(value)
