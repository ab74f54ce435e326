"""What goes over a stream's WebSocket: its ids, and `media` messages built at little cost."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from typing import TypeAlias
from uuid import uuid4

from mediaserver.protocol import Media, encode_event


WireMessage: TypeAlias = str | bytes
"""A WebSocket message: text, or binary from a carrier that misbehaves."""


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """The ids of one stream, of the kinds Plivo gives: UUIDs, and `MA` with 18 more characters."""

    call_id: str
    stream_id: str
    account_id: str

    @classmethod
    def new(cls) -> StreamIdentity:
        """Return fresh random ids."""
        return cls(str(uuid4()), str(uuid4()), f"MA{uuid4().hex[:18].upper()}")


class MediaEncoder:
    """Builds `media` messages for one track; equal to `encode_event`, at a fraction of the cost.

    The message is taken apart around its changing fields once, and put together for each frame.
    """

    __slots__ = ("_payload", "_payload_base64", "_template")

    def __init__(self, stream_id: str, track: str, extra_headers_text: str) -> None:
        # Thirteen digits occur in no UUID, and the extra headers come after all that changes.
        numbers = {
            "sequence": 1_111_111_111_101,
            "timestamp": 1_111_111_111_102,
            "chunk": 1_111_111_111_103,
        }
        payload = b"one frame of audio"
        message = encode_event(
            Media(
                payload,
                track=track,
                timestamp=numbers["timestamp"],
                chunk=numbers["chunk"],
                stream_id=stream_id,
                sequence_number=numbers["sequence"],
                extra_headers_text=extra_headers_text,
            )
        )
        template = message.replace("%", "%%")
        changing = {name: str(number) for name, number in numbers.items()}
        changing["payload"] = b2a_base64(payload, newline=False).decode()
        for name, text in changing.items():
            template = template.replace(text, f"%({name})s", 1)
        self._template = template
        self._payload = b""
        self._payload_base64 = ""

    def __call__(self, payload: bytes, sequence: int, timestamp: int, chunk: int) -> str:
        """Return the message for one payload."""
        # Silence is one object that comes again and again.
        if payload is not self._payload:
            self._payload = payload
            self._payload_base64 = b2a_base64(payload, newline=False).decode()
        return self._template % {
            "sequence": sequence,
            "timestamp": timestamp,
            "chunk": chunk,
            "payload": self._payload_base64,
        }
