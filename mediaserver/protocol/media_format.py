"""The four audio formats that Plivo streams, and the many ways of naming them."""

from __future__ import annotations

from typing import Any, Final

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol.errors import ProtocolError, quote
from mediaserver.protocol.liberal import read_count


PLIVO_FORMATS: Final = (MULAW_8K, L16_8K, L16_16K, L16_24K)
"""The formats that `contentType` of `<Stream>` may ask for."""

BY_NAME_AND_RATE: Final = {(each.content_type, each.rate): each for each in PLIVO_FORMATS}
MULAW: Final = MULAW_8K.content_type
ALLOWED: Final = ", ".join(map(str, PLIVO_FORMATS))


def split_content_type(content_type: str) -> tuple[str, int | None]:
    """Split `"audio/x-l16;rate=16000"` into a name and a rate in Hz; without one it is `None`."""
    name, _, parameters = content_type.partition(";")
    key, _, value = parameters.partition("=")
    rate = read_count(value.strip()) if key.strip().lower() == "rate" else None
    return name.strip().lower(), rate


def plivo_format(name: str, rate: object, where: str) -> AudioFormat:
    """Return the format that has this content type and rate (in Hz).

    Raises:
        ProtocolError: `unsupported_format` if it is not one of Plivo's four.

    """
    hertz = read_count(rate)
    if hertz is None and name == MULAW:
        hertz = MULAW_8K.rate
    try:
        return BY_NAME_AND_RATE[name, hertz or 0]
    except KeyError:
        raise ProtocolError(
            "unsupported_format",
            f"{where} is {quote(name)} at {'no rate' if rate is None else quote(rate)}; "
            f"allowed are {ALLOWED}",
        ) from None


def read_media_format(value: Any) -> AudioFormat | None:
    """Read `start.mediaFormat`, an object or a content type; `None` if it names no encoding.

    The object's keys are `encoding` and `sampleRate`, or `type` and `rate`. A rate under its own
    key wins over a `;rate=` in the encoding.
    """
    if isinstance(value, str):
        value = {"encoding": value}
    if not isinstance(value, dict):
        return None
    encoding = value.get("encoding") or value.get("type")
    if not isinstance(encoding, str):
        return None
    name, suffix_rate = split_content_type(encoding)
    rate = value.get("sampleRate") or value.get("rate") or suffix_rate
    return plivo_format(name, rate, "start.mediaFormat")
