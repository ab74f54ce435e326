"""What Plivo tells the server: one type for each event.

An id that the sender left out is `""`. A number that it left out, or that makes no sense, is
`None`. Names and shapes follow Plivo's audio streaming reference; `Stop` and `StreamError` are not
in it but appear in Plivo's own examples.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from audiocodecs import AudioFormat


class Start(msgspec.Struct, frozen=True):
    """The stream is open. Always Plivo's first message.

    Attributes:
        call_id: the call's UUID, the same as `CallUUID` in webhooks and in the REST API.
        stream_id: the stream's UUID, which commands refer to.
        account_id: `MA…` or `SA…`.
        tracks: `"inbound"`, `"outbound"` or both: the voices that `Media` will carry.
        media_format: `None` if the message names none; the configured format then applies.
        extra_headers: the `extraHeaders` of `<Stream>`, without Plivo's `X-PH-` prefix.
        extra_headers_text: the same text, as it arrived.
        sequence_number: 1; streams with 0, or without a number, have been seen.

    """

    call_id: str
    stream_id: str
    account_id: str = ""
    tracks: tuple[str, ...] = ("inbound",)
    media_format: AudioFormat | None = None
    extra_headers: dict[str, str] = msgspec.field(default_factory=dict)
    extra_headers_text: str = ""
    sequence_number: int | None = None


class Media(msgspec.Struct, frozen=True, gc=False):
    """A stretch of audio, commonly 20 ms.

    Attributes:
        payload: raw samples in the stream's format, of any length; no WAV header.
        track: whose voice: `"inbound"` is the caller.
        timestamp: milliseconds. Plivo documents the Unix epoch but also counts from other starts,
            so only differences are meaningful.
        chunk: counts the track's messages, from 1.
        stream_id: the stream's UUID.
        sequence_number: counts the stream's messages, from 1.
        extra_headers_text: the same text as in `Start`; Plivo repeats it on every message.

    """

    payload: bytes
    track: str = "inbound"
    timestamp: int | None = None
    chunk: int | None = None
    stream_id: str = ""
    sequence_number: int | None = None
    extra_headers_text: str = ""

    def __repr__(self) -> str:
        return (
            f"Media(<{len(self.payload)} bytes>, track={self.track!r}, timestamp={self.timestamp}, "
            f"chunk={self.chunk}, stream_id={self.stream_id!r}, "
            f"sequence_number={self.sequence_number})"
        )


class Dtmf(msgspec.Struct, frozen=True, gc=False):
    """The caller pressed a key.

    Attributes:
        digit: one of `0`-`9`, `*`, `#`, `A`-`D`.
        track: who pressed it: `"inbound"` is the caller.
        timestamp: milliseconds, on the clock of `Media.timestamp`.
        stream_id: the stream's UUID.
        sequence_number: counts the stream's messages.
        extra_headers_text: the same text as in `Start`.

    """

    digit: str
    track: str = "inbound"
    timestamp: int | None = None
    stream_id: str = ""
    sequence_number: int | None = None
    extra_headers_text: str = ""


class PlayedStream(msgspec.Struct, frozen=True, gc=False):
    """Everything sent before the checkpoint of this name has been played.

    A message called `played`, as in Plivo's support pages, is read as this too.
    """

    name: str
    stream_id: str = ""
    sequence_number: int | None = None


class ClearedAudio(msgspec.Struct, frozen=True, gc=False):
    """Plivo has discarded the audio it had queued, as `ClearAudio` asked."""

    stream_id: str = ""
    sequence_number: int | None = None


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The stream is over. Undocumented and optional: a closed socket says the same.

    Attributes:
        reason: why it ended; `""` if Plivo does not say.
        stream_id: the stream's UUID.
        sequence_number: counts the stream's messages.

    """

    reason: str = ""
    stream_id: str = ""
    sequence_number: int | None = None


class StreamError(msgspec.Struct, frozen=True, gc=False):
    """Plivo could not do something; the stream goes on. Undocumented.

    Attributes:
        event: `"error"`, `"playFailed"` or `"incorrectPayload"`, the answer to a `playAudio` that
            Plivo could not use.
        reason: Plivo's words, `"unknown"` if it gave none.
        stream_id: the stream's UUID.
        sequence_number: counts the stream's messages.

    """

    event: str
    reason: str = "unknown"
    stream_id: str = ""
    sequence_number: int | None = None


class Unknown(msgspec.Struct, frozen=True):
    """A JSON object that is not one of the events above. Ignore it, and perhaps count it.

    Attributes:
        event: the name in the object, or `None`.
        message: the object.

    """

    event: str | None
    message: dict[str, Any]


Event: TypeAlias = Start | Media | Dtmf | PlayedStream | ClearedAudio | Stop | StreamError | Unknown
