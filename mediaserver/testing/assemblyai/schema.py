"""What clients may send to AssemblyAI's streaming recognition, closed: the rest is refused.

The parameters, messages and values are those of
https://www.assemblyai.com/docs/streaming/api-spec/streaming-websocket, and of the classes of the
package ``assemblyai`` 1.8. Models are an open list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

import msgspec

from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.voice_server import decode_closed


_Check: TypeAlias = Callable[[str], object]


def _matches(pattern: str) -> _Check:
    return re.compile(pattern).fullmatch


def _number(least: float, most: float, kind: type[int] | type[float] = int) -> _Check:
    def check(value: str) -> bool:
        try:
            return least <= kind(value) <= most
        except ValueError:
            return False

    return check


def _texts(most: int, longest: int) -> _Check:
    def check(value: str) -> bool:
        try:
            texts = json.loads(value)
        except ValueError:
            return False
        return (
            isinstance(texts, list)
            and len(texts) <= most
            and all(isinstance(text, str) and 0 < len(text) <= longest for text in texts)
        )

    return check


# AssemblyAI's own package writes True where the reference has true.
_BOOL: Final = _matches("(?i:true|false)")
_PART: Final = _number(0, 1, float)
_MILLISECONDS: Final = _number(0, 60_000)
_TEXT: Final = _matches(r"(?s).*\S.*")

_EVERY: Final[dict[str, _Check]] = {
    "domain": _matches("medical-v1"),
    "encoding": _matches("pcm_s16le|pcm_mulaw"),
    "filter_profanity": _BOOL,
    "inactivity_timeout": _number(5, 3600),
    "include_partial_turns": _BOOL,
    "keyterms_prompt": _texts(100, 50),
    "language_detection": _BOOL,
    "max_speakers": _number(1, 10),
    "max_turn_silence": _MILLISECONDS,
    "min_turn_silence": _MILLISECONDS,
    "redact_pii": _BOOL,
    "redact_pii_policies": _texts(100, 50),
    "redact_pii_sub": _matches("hash|entity_name"),
    "sample_rate": _number(8000, 48000),
    "session_heartbeat": _BOOL,
    "speaker_labels": _BOOL,
    "speech_model": _matches(r"[\w.-]+"),
    "token": _TEXT,
    "turn_left_pad_ms": _MILLISECONDS,
    "vad_threshold": _PART,
    "voice_focus": _matches("near-field|far-field"),
    "voice_focus_threshold": _PART,
}
_UNIVERSAL_STREAMING: Final[dict[str, _Check]] = {
    "end_of_turn_confidence_threshold": _PART,
    "format_turns": _BOOL,
}
_UNIVERSAL_3: Final[dict[str, _Check]] = {
    "acknowledge_silence": _BOOL,
    "agent_context": _TEXT,
    "continuous_partials": _BOOL,
    "interruption_delay": _number(0, 1000),
    "language_codes": _texts(30, 10),
    "mode": _matches("max_accuracy|min_latency|balanced"),
    "prompt": _TEXT,
}


class _Closed(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    pass


class _UpdateConfiguration(_Closed, tag="UpdateConfiguration"):
    acknowledge_silence: bool | None = None
    agent_context: str | None = None
    end_of_turn_confidence_threshold: float | None = None
    filter_profanity: bool | None = None
    format_turns: bool | None = None
    interruption_delay: int | None = None
    keyterms_prompt: list[str] | None = None
    language_codes: list[str] | None = None
    max_turn_silence: int | None = None
    min_turn_silence: int | None = None
    prompt: str | None = None
    session_heartbeat: bool | None = None
    turn_left_pad_ms: int | None = None
    vad_threshold: float | None = None


class _ForceEndpoint(_Closed, tag="ForceEndpoint"):
    pass


class _KeepAlive(_Closed, tag="KeepAlive"):
    pass


class _Terminate(_Closed, tag="Terminate"):
    pass


_MESSAGE: Any = _UpdateConfiguration | _ForceEndpoint | _KeepAlive | _Terminate


def read_assemblyai_query(query: str) -> dict[str, str]:
    """Return the parameters of a session.

    Raises:
        RefusedError: a parameter is unknown, missing or wrong, or not for the model.

    """
    given = _single(query)
    model = given.get("speech_model", "universal-3-5-pro")
    streaming = model.startswith(("universal-streaming", "whisper"))
    known = _EVERY | (_UNIVERSAL_STREAMING if streaming else _UNIVERSAL_3)
    for name, value in given.items():
        if name not in known:
            raise RefusedError(400, f"Invalid parameter {name!r} for {model}")
        if not known[name](value):
            raise RefusedError(400, f"Invalid value of {name!r}: {value!r}")
    shortest, longest = (int(given.get(f"{each}_turn_silence", "-1")) for each in ("min", "max"))
    if -1 < longest < shortest:
        raise RefusedError(400, "min_turn_silence is above max_turn_silence")
    return given


def read_token_query(query: str) -> dict[str, str]:
    """Return the parameters of a request for a temporary token.

    Raises:
        RefusedError: a parameter is unknown, missing or wrong.

    """
    known = {
        "expires_in_seconds": _number(1, 600),
        "max_session_duration_seconds": _number(60, 10800),
    }
    given = _single(query)
    for name, value in given.items():
        if name not in known or not known[name](value):
            raise RefusedError(400, f"Invalid parameter {name!r}: {value!r}")
    if "expires_in_seconds" not in given:
        raise RefusedError(400, "expires_in_seconds is missing")
    return given


def read_assemblyai_message(message: str) -> dict[str, Any]:
    """Return a message of text that a client sent, without the fields that it left out.

    Raises:
        RefusedError: it is not JSON, or its type or a field is unknown or wrong.

    """
    read: dict[str, Any] = msgspec.to_builtins(decode_closed(message, _MESSAGE))
    return read


def _single(query: str) -> dict[str, str]:
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if len(values) > 1:
            raise RefusedError(400, f"the parameter {name!r} is given {len(values)} times")
    return {name: values[0] for name, values in given.items()}
