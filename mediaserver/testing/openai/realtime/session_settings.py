"""The settings of a session, as the client changes them."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from audiocodecs import L16_24K, MULAW_8K, AudioFormat
from mediaserver.testing.openai.realtime.client_events import JsonDict, RealtimeRefusal


Direction = Literal["input", "output"]

_FORMATS = {"audio/pcmu": MULAW_8K, "audio/pcma": AudioFormat("alaw", 8000)}
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class SessionSettings:
    """The settings of a session.

    Attributes:
        values: as the API has them.

    """

    kind: ClassVar = "realtime"

    def __init__(self) -> None:
        self.values: JsonDict = {"type": self.kind}

    def change(self, changes: JsonDict, *, spoke: bool) -> None:
        """Change the settings that are named in `changes`.

        Args:
            changes: the ``session`` of a ``session.update``.
            spoke: whether the model has been heard, after which its voice is fixed.

        Raises:
            RealtimeRefusal: a value is wrong; then nothing is changed.

        """
        if changes.get("type", self.kind) != self.kind:
            given = changes["type"]
            raise RealtimeRefusal(
                "invalid_parameter",
                f"Passing a {given} session update event to a {self.kind} session is not allowed.",
            )
        former, self.values = self.values, _merged(self.values, changes)
        try:
            self._check()
            if spoke and self._audio("output").get("voice") != _voice(former):
                text = "Cannot update a conversation's voice if assistant audio is present."
                raise RealtimeRefusal("cannot_update_voice", text)
        except RealtimeRefusal:
            self.values = former
            raise

    def wire(self, direction: Direction) -> AudioFormat:
        """Return the format of the caller's audio, which is the input, or of the model's."""
        return _FORMATS.get(self._audio(direction).get("format", {}).get("type"), L16_24K)

    def seconds(self, size: int, direction: Direction = "input") -> float:
        """Return the duration of a number of bytes of audio, in seconds."""
        return size / self.wire(direction).bytes_per_second

    @property
    def transcribes(self) -> bool:
        """Whether the client wants to know what the caller said."""
        return bool(self._audio("input").get("transcription"))

    @property
    def turn_detection(self) -> JsonDict | None:
        """How the server takes the turns; None if the client does."""
        detection: JsonDict | None = self._audio("input").get("turn_detection", {})
        if detection is None:
            return None
        usual = {"silence_duration_ms": 500, "interrupt_response": True, "create_response": True}
        return usual | detection

    def _audio(self, direction: Direction) -> JsonDict:
        audio: JsonDict = self.values.get("audio", {}).get(direction, {})
        return audio

    def _check(self) -> None:
        for direction in ("input", "output"):
            wire = self._audio(direction).get("format", {})
            if wire.get("type") == "audio/pcm" and wire.get("rate") != L16_24K.rate:
                param = f"session.audio.{direction}.format.rate"
                raise RealtimeRefusal(
                    "missing_required_parameter", f"{param} is 24000", param=param
                )
        for tool in self.values.get("tools", ()):
            name = tool.get("name", "")
            if not _TOOL_NAME.fullmatch(name):
                raise RealtimeRefusal("invalid_value", f"Invalid tool name: {name!r}.")
            if tool.get("parameters", {}).get("type") != "object":
                raise RealtimeRefusal("invalid_value", f"Invalid parameters of tool {name!r}.")


def _voice(values: JsonDict) -> Any:
    return values.get("audio", {}).get("output", {}).get("voice")


def _merged(settings: JsonDict, changes: JsonDict) -> JsonDict:
    merged = dict(settings)
    for name, value in changes.items():
        present = merged.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            value = _merged(present, value)
        merged[name] = value
    return merged
