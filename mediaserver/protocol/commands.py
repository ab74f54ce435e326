"""What the server tells Plivo: one type for each command.

No command ends the call or the stream. Plivo's REST API ends a call; closing the socket ends a
stream.

`warnings` is empty in a command that you build; `decode_command` fills it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from audiocodecs import AudioFormat, Payload


MAX_PLAY_BYTES: Final = 12_288
"""Most bytes of audio in one `PlayAudio`: 16 KB in base64, the size that Plivo's guide asks for."""


class PlayAudio(msgspec.Struct, frozen=True, gc=False):
    """Queue audio to be played to the caller. Plivo does not answer it.

    Attributes:
        payload: raw samples, at most `MAX_PLAY_BYTES`.
        format: must be the stream's format, or playback fails. `decode_command` returns `None`
            when the sender left it out or wrote `raw` or `wav`.
        warnings: what a strict reader would object to.

    """

    payload: Payload
    format: AudioFormat | None
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PlayAudio(<{len(self.payload)} bytes>, {self.format}, warnings={self.warnings})"


class SetCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """Ask for a `PlayedStream` once all the audio sent so far has been played.

    Attributes:
        stream_id: from `Start`.
        name: any text; it comes back in `PlayedStream.name`.
        warnings: what a strict reader would object to.

    """

    stream_id: str
    name: str
    warnings: tuple[str, ...] = ()


class ClearAudio(msgspec.Struct, frozen=True, gc=False):
    """Discard the audio that Plivo has queued. Plivo answers with `ClearedAudio`.

    Attributes:
        stream_id: from `Start`.
        warnings: what a strict reader would object to.

    """

    stream_id: str
    warnings: tuple[str, ...] = ()


class SendDtmf(msgspec.Struct, frozen=True, gc=False):
    """Send touch tones to the other end. Plivo does not answer it.

    Attributes:
        digits: one or more of `0`-`9`, `*`, `#`, `A`-`D`; lower-case letters are sent as capitals.
        warnings: what a strict reader would object to.

    """

    digits: str
    warnings: tuple[str, ...] = ()


class UnknownCommand(msgspec.Struct, frozen=True):
    """A JSON object that is not one of the commands above.

    Attributes:
        event: the name in the object, or `None`.
        message: the object.
        warnings: always says that Plivo has no such command.

    """

    event: str | None
    message: dict[str, Any]
    warnings: tuple[str, ...] = ()


Command: TypeAlias = PlayAudio | SetCheckpoint | ClearAudio | SendDtmf | UnknownCommand
