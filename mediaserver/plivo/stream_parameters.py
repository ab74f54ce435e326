"""The parameters of an audio stream, by the rules of Plivo's pages.

One table for all that ask for a stream or are asked for one: `StreamRequest`, `xml.Stream` and the
reader of XML, the sandbox's API, and settings. Names are those of the REST API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mediaserver.plivo.parameter_kinds import (
    FlagKind,
    FormatKind,
    PairsKind,
    ParameterKind,
    UrlKind,
    WholeKind,
    WordKind,
)


MAX_URL: Final = 2048
"""Longest stream URL that Plivo accepts, in characters."""
MAX_EXTRA_HEADERS: Final = 512
"""Longest ``extraHeaders`` that Plivo accepts, in bytes."""
MAX_STREAM_TIMEOUT: Final = 86_400
"""Longest stream, and the default limit, in seconds."""

SERVICE_URL: Final = UrlKind("wss", "ws", longest=MAX_URL)
"""``wss://`` as on Plivo's pages, and ``ws://`` as on its older ones."""

BIDIRECTIONAL: Final = FlagKind()
AUDIO_TRACK: Final = WordKind("inbound", "outbound", "both")
STREAM_TIMEOUT: Final = WholeKind(1, MAX_STREAM_TIMEOUT)
CONTENT_TYPE: Final = FormatKind()
STATUS_CALLBACK_URL: Final = UrlKind("http", "https")
STATUS_CALLBACK_METHOD: Final = WordKind("GET", "POST")
EXTRA_HEADERS: Final = PairsKind(MAX_EXTRA_HEADERS)
KEEP_CALL_ALIVE: Final = FlagKind()
NOISE_CANCELLATION: Final = FlagKind()
NOISE_CANCELLATION_LEVEL: Final = WholeKind(60, 100)

STREAM_PARAMETERS: Final[Mapping[str, ParameterKind]] = {
    "bidirectional": BIDIRECTIONAL,
    "audio_track": AUDIO_TRACK,
    "stream_timeout": STREAM_TIMEOUT,
    "status_callback_url": STATUS_CALLBACK_URL,
    "status_callback_method": STATUS_CALLBACK_METHOD,
    "content_type": CONTENT_TYPE,
    "extra_headers": EXTRA_HEADERS,
    "keep_call_alive": KEEP_CALL_ALIVE,
    "noise_cancellation": NOISE_CANCELLATION,
    "noise_cancellation_level": NOISE_CANCELLATION_LEVEL,
}
"""The optional parameters. The REST API has no ``keep_call_alive``."""


def check_combination(parameters: Any, name: Callable[[str], str] = str) -> None:
    """Check what the parameters of a stream must be to each other.

    Args:
        parameters: An object with the names of the table as attributes.
        name: Spells the name of a parameter in the error.

    Raises:
        ValueError: Plivo allows each of them, but not together.

    """
    if parameters.bidirectional and parameters.audio_track in ("outbound", "both"):
        raise ValueError(
            f'{name("audio_track")} cannot be "{parameters.audio_track}" with'
            f" {name('bidirectional')}: a stream that plays to the caller carries only the caller's"
            ' voice; leave it out, or use "inbound"'
        )


def warnings_of(parameters: Any, name: Callable[[str], str] = str) -> tuple[str, ...]:
    """Return what Plivo ignores among the parameters of a stream, a sentence each."""
    if ignores_level(parameters):
        level, noise_cancellation = name("noise_cancellation_level"), name("noise_cancellation")
        return (f"{level} is ignored, because {noise_cancellation} is not true",)
    return ()


def ignores_level(parameters: Any) -> bool:
    """Return whether there is a noise cancellation level without noise cancellation."""
    return parameters.noise_cancellation_level is not None and not parameters.noise_cancellation
