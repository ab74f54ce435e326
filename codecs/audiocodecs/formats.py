"""Audio formats: the encoding and the sample rate of a payload."""

import re
from collections.abc import Callable
from typing import Final, Literal, NoReturn, TypeAlias, cast, get_args

import numpy as np

from audiocodecs import g711, l16
from audiocodecs.errors import AudioError, shown
from audiocodecs.samples import Payload, Samples


Encoding: TypeAlias = Literal["mulaw", "alaw", "l16"]

RATES: Final = range(8000, 192_001)
"""The sample rates, in Hz, that L16 and the resampler support."""

_RATES_OF: dict[Encoding, range] = {
    "mulaw": range(8000, 8001),
    "alaw": range(8000, 8001),
    "l16": RATES,
}
_DECODE: dict[Encoding, Callable[[Payload], Samples]] = {
    "mulaw": g711.mulaw_decode,
    "alaw": g711.alaw_decode,
    "l16": l16.l16_decode,
}
_ENCODE: dict[Encoding, Callable[[Samples], bytes]] = {
    "mulaw": g711.mulaw_encode,
    "alaw": g711.alaw_encode,
    "l16": l16.l16_encode,
}
_SILENCE: dict[Encoding, bytes] = {"mulaw": b"\xff", "alaw": b"\xd5", "l16": b"\x00\x00"}

_MEDIA_TYPE = re.compile(
    r"""\s* audio/x-(?P<encoding>mulaw|alaw|l16) \s*
        (?: ; \s* rate \s* = \s* (?P<quote>"?) (?P<rate>[0-9]{1,9}) (?P=quote) \s* )? ;? \s*""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


class AudioFormat:
    """An encoding and a sample rate. Always mono, as the streams of a call are.

    Each format has one immutable instance, so comparing and hashing are cheap. ``decode`` and
    ``encode`` are the codec's own functions.

    Args:
        encoding: ``"mulaw"`` or ``"alaw"`` (ITU-T G.711), or ``"l16"`` (little-endian).
        rate: samples per second: 8000 for G.711; one of `RATES` for L16.

    Raises:
        AudioError: if the encoding is unknown or does not have this rate.

    """

    __slots__ = (
        "bytes_per_second",
        "content_type",
        "decode",
        "encode",
        "encoding",
        "rate",
        "sample_bytes",
        "silence",
    )
    __match_args__ = ("encoding", "rate")

    encoding: Encoding
    rate: int
    """Samples per second, in Hz."""
    content_type: str
    """The media type without the rate, in the form that ``playAudio`` needs: ``"audio/x-l16"``."""
    sample_bytes: int
    """Bytes per sample: 1 for G.711, 2 for L16."""
    bytes_per_second: int
    silence: bytes
    """One sample of silence, encoded."""
    decode: Callable[[Payload], Samples]
    """Payload to samples (int16, one-dimensional). An invalid payload raises `AudioError`."""
    encode: Callable[[Samples], bytes]
    """Samples (int16, one-dimensional) to payload. Any other array raises `AudioError`."""

    def __new__(cls, encoding: Encoding, rate: int) -> "AudioFormat":
        """Return the one instance of this format."""
        if isinstance(encoding, str) and isinstance(rate, int | np.integer):
            known = _format(encoding, int(rate))
            if known:
                return known
        raise AudioError(
            f"no audio format has encoding {shown(encoding)} and rate {shown(rate)}; "
            f"allowed: {_allowed()}"
        )

    @classmethod
    def parse(cls, content_type: str) -> "AudioFormat":
        """Return the format that a media type names, with or without its rate.

        Case and white space do not matter. Without ``;rate=`` the rate is 8000, the default of
        Plivo's ``contentType``.

        Raises:
            AudioError: if this package does not support the media type.

        """
        match = _MEDIA_TYPE.fullmatch(content_type) if isinstance(content_type, str) else None
        if match:
            known = _format(match["encoding"].lower(), int(match["rate"] or 8000))
            if known:
                return known
        raise AudioError(f"unknown audio format {shown(content_type)}; allowed: {_allowed()}")

    def seconds(self, payload: Payload) -> float:
        """Return the duration of ``payload`` in seconds."""
        size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
        return size / self.bytes_per_second

    def __str__(self) -> str:
        return f"{self.content_type};rate={self.rate}"

    def __repr__(self) -> str:
        return f"AudioFormat({self.encoding!r}, {self.rate})"

    def __reduce__(self) -> tuple[type["AudioFormat"], tuple[Encoding, int]]:
        return AudioFormat, (self.encoding, self.rate)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an AudioFormat is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an AudioFormat is immutable: cannot delete {name!r}")


def _create(encoding: Encoding, rate: int) -> AudioFormat:
    made = object.__new__(AudioFormat)
    sample_bytes = len(_SILENCE[encoding])
    values = {
        "encoding": encoding,
        "rate": rate,
        "content_type": f"audio/x-{encoding}",
        "sample_bytes": sample_bytes,
        "bytes_per_second": rate * sample_bytes,
        "silence": _SILENCE[encoding],
        "decode": _DECODE[encoding],
        "encode": _ENCODE[encoding],
    }
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _allowed() -> str:
    return ", ".join(
        f"audio/x-{encoding};rate={described(rates)}" for encoding, rates in _RATES_OF.items()
    )


def described(rates: range) -> str:
    """Return ``rates`` for an error message: "8000", or "8000 to 192000"."""
    return str(rates[0]) if len(rates) == 1 else f"{rates[0]} to {rates[-1]}"


_formats: dict[tuple[str, int], AudioFormat] = {}


def _format(encoding: str, rate: int) -> AudioFormat | None:
    """Return the one format of this encoding and rate; None if there is no such format."""
    known = _formats.get((encoding, rate))
    if known is None and encoding in get_args(Encoding):
        checked = cast("Encoding", encoding)
        if rate in _RATES_OF[checked]:
            known = _formats.setdefault((checked, rate), _create(checked, rate))
    return known


MULAW_8K: Final = AudioFormat("mulaw", 8000)
L16_8K: Final = AudioFormat("l16", 8000)
L16_16K: Final = AudioFormat("l16", 16000)
L16_24K: Final = AudioFormat("l16", 24000)
