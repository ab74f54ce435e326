"""Deviations from Plivo's behaviour, to test that a server withstands them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any


def _at(text: str) -> Any:
    return field(default=None, metadata={"time": True, "help": text})


def _amount(example: str, text: str) -> Any:
    return field(default=None, metadata={"value": example, "help": text})


def _flag(text: str) -> Any:
    return field(default=False, metadata={"help": text})


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Which deviations a phone or a stream of the sandbox has; by default, none.

    Times are seconds after the start of the stream.

    Attributes:
        stop_reading: From this time on nothing is read from the socket.
        stop_sending: From this time on no event is sent: no frame, key or answer. The socket stays
            open.
        drop: At this time the TCP connection is torn down without a closing handshake.
        reopen: So long after `drop` the stream is opened again, once, with a new `start`.
        half_open: The server is not told of `drop`: the old socket stays open, and is silent.
        keep_playing: What is queued for playback at `drop` is played on, instead of dropped.
        new_stream_id: The stream that is opened again has another id.
        half_close: At this time the sending side of the TCP connection is shut.
        oversize: At this time one message beyond 64 KB is sent.
        late: Each frame is sent up to this many seconds late, in order.
        bursts: Frames are held back and sent this many at once.
        odd_sizes: No frame holds 20 ms of audio; together they hold all of it.
        out_of_order: Every other pair of frames is sent in the wrong order.
        string_numbers: `sequenceNumber` and `chunk` are strings.
        missing_numbers: `sequenceNumber`, `chunk` and `timestamp` are left out.
        media_before_start: Three frames are sent before `start`.
        no_start: `start` is never sent.
        duplicate_start: `start` is sent again one second later.
        garbage: Five times a second a message is sent that is not a valid event.
        binary: Messages are sent as binary WebSocket frames.
        fragmented: Messages are sent in three WebSocket fragments.
        no_acks: Checkpoints are never answered.
        acks_cleared: Checkpoints dropped by a clear are answered as if they had been played.
        no_cleared: `clearAudio` is obeyed but never answered.

    """

    stop_reading: float | None = _at("stop reading from the socket")
    stop_sending: float | None = _at("send nothing more, keep the socket open")
    drop: float | None = _at("tear down TCP without a close frame")
    reopen: float | None = _amount("200ms", "open the dropped stream again this much later")
    half_open: bool = _flag("leave the dropped socket open and silent, so that nobody tells")
    keep_playing: bool = _flag("play on what was queued when the stream was dropped")
    new_stream_id: bool = _flag("open the dropped stream again with another stream id")
    half_close: float | None = _at("shut down the sending side of TCP")
    oversize: float | None = _at("send one message beyond 64 KB")
    late: float | None = _amount("80ms", "send each frame up to this much late")
    bursts: int | None = _amount("10", "hold frames back, send this many at once")
    odd_sizes: bool = _flag("send frames that are not 20 ms long")
    out_of_order: bool = _flag("send every other pair of frames the wrong way round")
    string_numbers: bool = _flag("send sequenceNumber and chunk as strings")
    missing_numbers: bool = _flag("leave out sequenceNumber, chunk and timestamp")
    media_before_start: bool = _flag("send three media frames before start")
    no_start: bool = _flag("never send start")
    duplicate_start: bool = _flag("send start again after a second")
    garbage: bool = _flag("send messages in between that are not valid events")
    binary: bool = _flag("send binary WebSocket frames")
    fragmented: bool = _flag("send each message in three WebSocket fragments")
    no_acks: bool = _flag("never answer checkpoints")
    acks_cleared: bool = _flag("answer cleared checkpoints as if played")
    no_cleared: bool = _flag("never answer clearAudio, though obeying it")

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if value is None or isinstance(value, bool):
                continue
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{_spelling(option.name)} must not be negative, got {value!r}")
        if self.bursts is not None and self.bursts < 1:
            raise ValueError(f"bursts must be at least 1, got {self.bursts!r}")
        if self.reopen is not None and self.drop is None:
            raise ValueError("reopen opens a dropped stream again: give drop as well")
        if (self.half_open or self.keep_playing or self.new_stream_id) and self.reopen is None:
            raise ValueError("half-open, keep-playing and new-stream-id need reopen")
        if self.string_numbers and self.missing_numbers:
            raise ValueError("string-numbers and missing-numbers exclude each other")
        if self.binary and self.fragmented:
            raise ValueError("binary and fragmented exclude each other")
        if self.no_acks and self.acks_cleared:
            raise ValueError("no-acks and acks-cleared exclude each other")

    @classmethod
    def parse(cls, *texts: str) -> Misbehaviour:
        """Build one from texts such as `"drop@3"`, `"late:80ms"`, `"bursts:10"` or `"garbage"`.

        A time is given after `@` in seconds (0 if left out), an amount after `:`; amounts of
        time may end in `s` or `ms`.

        Raises:
            ValueError: A name is unknown, or its value is missing, not wanted or not a number.

        """
        options: dict[str, Any] = {}
        for text in texts:
            match = re.fullmatch(r"\s*([a-z-]+)\s*(?:([@:])\s*(\S+))?\s*", text)
            name = match[1] if match else text.strip()
            option = _OPTIONS.get(name)
            if match is None or option is None:
                raise ValueError(f"unknown misbehaviour {text!r}; allowed: {', '.join(_USAGE)}")
            if option.name in options:
                raise ValueError(f"misbehaviour {name!r} is given twice")
            options[option.name] = _value(text, name, match[2], match[3])
        return cls(**options)

    def __bool__(self) -> bool:
        return any(value is not None and value is not False for value in self._values())

    def __str__(self) -> str:
        words: list[str] = []
        for option, value in zip(fields(self), self._values(), strict=True):
            name = _spelling(option.name)
            if value is True:
                words.append(name)
            elif value is not None and value is not False:
                unit = "s" if option.name in ("late", "reopen") else ""
                words.append(f"{name}{'@' if 'time' in option.metadata else ':'}{value:g}{unit}")
        return " ".join(words)

    def _values(self) -> list[float | bool | None]:
        return [getattr(self, option.name) for option in fields(self)]


def _spelling(name: str) -> str:
    return name.replace("_", "-")


_OPTIONS = {_spelling(option.name): option for option in fields(Misbehaviour)}


def _usage(name: str) -> str:
    metadata = _OPTIONS[name].metadata
    if "time" in metadata:
        return f"{name}@SECONDS"
    return f"{name}:{metadata['value']}" if "value" in metadata else name


_USAGE = {_usage(name): _OPTIONS[name].metadata["help"] for name in _OPTIONS}

MISBEHAVIOURS: Mapping[str, str] = MappingProxyType(_USAGE)
"""How each misbehaviour is written, with one line of help."""


def _value(text: str, name: str, mark: str | None, amount: str | None) -> float | bool:
    metadata = _OPTIONS[name].metadata
    wanted = "@" if "time" in metadata else ":" if "value" in metadata else None
    if mark is None and wanted == "@":
        return 0.0
    if mark != wanted:
        raise ValueError(f"misbehaviour {text!r} must be written {_usage(name)!r}")
    if amount is None:
        return True
    number, unit = (amount[:-2], 0.001) if amount.endswith("ms") else (amount.rstrip("s"), 1.0)
    try:
        return int(amount) if name == "bursts" else float(number) * unit
    except ValueError:
        raise ValueError(
            f"misbehaviour {text!r} must be written {_usage(name)!r}: {amount!r} is not a number"
        ) from None
