"""What clients may send to Sarvam's recogniser, closed: what is not here is refused.

The parameters, events and values are those of
https://docs.sarvam.ai/api-reference/speech-to-text/transcribe/realtime/ws, and of the package
``sarvamai``, which is generated from the same description.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import parse_qs

import msgspec

from mediaserver.testing.http_server import RefusedError


def _one_of(*values: str) -> Callable[[str], object]:
    return values.__contains__


def _keyterms(value: str) -> bool:
    kind = Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]],
        msgspec.Meta(min_length=1, max_length=50),
    ]
    try:
        msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError:
        return False
    return True


_PARAMETERS: Final[dict[str, Callable[[str], object]]] = {
    "language_code": re.compile(
        "auto|(en|hi|bn|kn|ml|mr|or|pa|ta|te|gu|as|ur|ne|kok|ks|sd|sa|sat|mni|brx|mai|doi)-IN"
    ).fullmatch,
    "model": _one_of("saaras:v3-realtime", "saaras:v4"),
    "stream_type": _one_of("fast", "balanced", "simulated"),
    "mode": _one_of("transcribe", "translate", "verbatim", "translit", "codemix"),
    "prompt": str.strip,
    "keyterms": _keyterms,
    "endpointing": _one_of("vad", "manual"),
    "encoding": _one_of("linear16", "linear32", "mulaw", "alaw"),
    "sample_rate": _one_of("8000", "16000"),
    "return_timestamps": _one_of("true", "false"),
    "threshold": re.compile(r"0(\.\d+)?|1(\.0+)?").fullmatch,
    "prefix_padding_ms": str.isdecimal,
    "silence_duration_ms": str.isdecimal,
    "min_speech_duration_ms": str.isdecimal,
}


class _Closed(msgspec.Struct, forbid_unknown_fields=True, tag_field="event"):
    pass


class SaarasAudioInput(_Closed, tag="audio_input"):
    """A piece of audio."""

    audio: bytes


class SaarasSpeechStart(_Closed, tag="speech_start"):
    """An utterance begins."""


class SaarasSpeechEnd(_Closed, tag="speech_end"):
    """The utterance has ended."""


class SaarasFlush(_Closed, tag="flush"):
    """What was heard is to be final."""


class SaarasConfigUpdate(_Closed, tag="config.update", kw_only=True):
    """Other settings."""

    language_code: str | None = None
    prompt: str | None = None
    mode: str | None = None
    stream_type: Literal["fast", "balanced"] | None = None
    endpointing: Literal["vad", "manual"] | None = None
    threshold: float | None = None
    silence_duration_ms: int | None = None
    min_speech_duration_ms: int | None = None


class SaarasPing(_Closed, tag="ping"):
    """The connection is to be kept."""


class SaarasEnd(_Closed, tag="end"):
    """The session is to end."""


SaarasRequest: TypeAlias = (
    SaarasAudioInput
    | SaarasSpeechStart
    | SaarasSpeechEnd
    | SaarasFlush
    | SaarasConfigUpdate
    | SaarasPing
    | SaarasEnd
)


def read_saaras_query(query: str) -> dict[str, str]:
    """Return the parameters of a connection.

    Raises:
        RefusedError: one is unknown, missing, repeated or wrong.

    """
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if name not in _PARAMETERS:
            raise RefusedError(400, f"unknown parameter {name!r}")
        if len(values) > 1:
            raise RefusedError(400, f"the parameter {name!r} is given {len(values)} times")
        if not _PARAMETERS[name](values[0]):
            raise RefusedError(400, f"the parameter {name!r} cannot be {values[0]!r}")
    if "language_code" not in given:
        raise RefusedError(400, "the parameter 'language_code' is missing")
    if "keyterms" in given and given.get("model") != ["saaras:v4"]:
        raise RefusedError(400, "keyterms are for saaras:v4")
    return {name: values[0] for name, values in given.items()}
