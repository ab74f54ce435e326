"""The messages of ElevenLabs' WebSocket for recognition, without I/O.

https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final, TypeAlias

import msgspec


class ScribeStarted(msgspec.Struct, tag_field="message_type", tag="session_started"):
    """The session is open."""


class ScribePartial(msgspec.Struct, tag_field="message_type", tag="partial_transcript"):
    """What was understood since the last commit."""

    text: str


class ScribeCommitted(msgspec.Struct, tag_field="message_type", tag="committed_transcript"):
    """What was said before a commit."""

    text: str


class ScribeThrottled(msgspec.Struct, tag_field="message_type", tag="commit_throttled"):
    """A commit was not done."""

    error: str = ""


class ScribeFailure(msgspec.Struct):
    """Something was refused, or has failed.

    Attributes:
        message_type: what, such as ``auth_error``.
        error: why.

    """

    message_type: str
    error: str = ""

    @property
    def status(self) -> int | None:
        """The HTTP status that says the same, if there is one."""
        return _STATUSES.get(self.message_type)


ScribeMessage: TypeAlias = (
    ScribeStarted | ScribePartial | ScribeCommitted | ScribeThrottled | ScribeFailure
)

_STATUSES: Final = {
    "auth_error": 401,
    "invalid_request": 400,
    "rate_limited": 429,
    "unaccepted_terms": 403,
}
_FAILURES: Final = frozenset(
    {
        *_STATUSES,
        "chunk_size_exceeded",
        "error",
        "input_error",
        "insufficient_audio_activity",
        "queue_overflow",
        "quota_exceeded",
        "resource_exhausted",
        "session_time_limit_exceeded",
        "transcriber_error",
    }
)
_KNOWN: Final = frozenset(
    {"session_started", "partial_transcript", "committed_transcript", "commit_throttled"}
)


class _Kind(msgspec.Struct, gc=False):
    message_type: str


_KIND = msgspec.json.Decoder(_Kind)
_MESSAGE = msgspec.json.Decoder(ScribeStarted | ScribePartial | ScribeCommitted | ScribeThrottled)
_FAILURE = msgspec.json.Decoder(ScribeFailure)


def decode_scribe(message: bytes | str) -> ScribeMessage | None:
    """Return a message, or None if it is of no use to an agent.

    Raises:
        ValueError: it is not JSON, or a field is missing or wrong.

    """
    kind = _KIND.decode(message).message_type
    if kind in _FAILURES:
        return _FAILURE.decode(message)
    return _MESSAGE.decode(message) if kind in _KNOWN else None


def scribe_chunk(audio: bytes, rate: int, *, commit: bool = False) -> str:
    """Return the message with a piece of audio; `commit` has all words so far told."""
    flag = "true" if commit else "false"
    return (
        f'{{"message_type":"input_audio_chunk","audio_base_64":"{b64encode(audio).decode()}"'
        f',"commit":{flag},"sample_rate":{rate}}}'
    )
