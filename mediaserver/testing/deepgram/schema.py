"""What clients may send to Deepgram, closed: what is not here is refused.

The parameters, messages and values are those of the references at
https://developers.deepgram.com/reference/speech-to-text/listen-streaming, …/listen-flux and
https://developers.deepgram.com/reference/text-to-speech/speak-streaming.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from mediaserver.testing.http_server import RefusedError


NOVA: Final = "/v1/listen"
FLUX: Final = "/v2/listen"
AURA: Final = "/v1/speak"

_Check = Callable[[str], object]


def _matches(pattern: str) -> _Check:
    return re.compile(pattern).fullmatch


def _between(least: float, most: float) -> _Check:
    def check(value: str) -> bool:
        try:
            return least <= float(value) <= most
        except ValueError:
            return False

    return check


_BOOL: Final = _matches("true|false")
_WORD: Final = _matches(r"[\w.:-]+")
_TEXT: Final = _matches(r"(?s).*\S.*")
_RATE: Final = _between(8000, 48000)
_SEVERAL: Final = frozenset(
    {"keyterm", "keywords", "language_hint", "redact", "replace", "search", "tag", "extra"}
)

_SWITCHES: Final = (
    "detect_entities",
    "diarize",
    "dictation",
    "interim_results",
    "mip_opt_out",
    "multichannel",
    "numerals",
    "profanity_filter",
    "punctuate",
    "smart_format",
    "vad_events",
)
_TEXTS: Final = (
    "callback",
    "extra",
    "keyterm",
    "keywords",
    "redact",
    "replace",
    "search",
    "tag",
    "version",
)

_QUERIES: Final[dict[str, dict[str, _Check]]] = {
    NOVA: {
        **dict.fromkeys(_SWITCHES, _BOOL),
        **dict.fromkeys(
            [
                "extra",
                "keyterm",
                "keywords",
                "redact",
                "replace",
                "search",
                "tag",
                "callback",
                "version",
            ],
            _TEXT,
        ),
        "callback_method": _matches("POST|PUT"),
        "channels": _between(1, 20),
        "diarize_model": _matches("latest|v1|v2"),
        "encoding": _matches(
            "linear16|linear32|flac|alaw|mulaw|amr-nb|amr-wb|opus|ogg-opus|speex|g729"
        ),
        "endpointing": _matches(r"false|\d+"),
        "language": _WORD,
        "language_hint": _WORD,
        "model": _WORD,
        "sample_rate": _RATE,
        "utterance_end_ms": _between(1000, 5000),
    },
    FLUX: {
        **dict.fromkeys(["mip_opt_out", "numerals", "profanity_filter"], _BOOL),
        **dict.fromkeys(["keyterm", "redact", "tag"], _TEXT),
        "eager_eot_threshold": _between(0.3, 0.9),
        "encoding": _matches("linear16|linear32|mulaw|alaw|opus|ogg-opus"),
        "eot_threshold": _between(0.5, 1.0),
        "eot_timeout_ms": _between(500, 60000),
        "language_hint": _WORD,
        "model": _matches("flux-general-en|flux-general-multi"),
        "sample_rate": _RATE,
    },
    AURA: {
        "encoding": _matches("linear16|mulaw|alaw"),
        "mip_opt_out": _BOOL,
        "model": _matches(r"aura-[a-z0-9-]+-[a-z]{2}"),
        "sample_rate": _matches("8000|16000|24000|32000|48000"),
        "speed": _between(0.7, 1.5),
    },
}


class _Closed(msgspec.Struct, forbid_unknown_fields=True, tag_field="type"):
    pass


class _Finalize(_Closed, tag="Finalize"):
    channel: int | None = None


class _KeepAlive(_Closed, tag="KeepAlive"):
    pass


class _CloseStream(_Closed, tag="CloseStream"):
    pass


class _ForceEndTurn(_Closed, tag="ForceEndTurn"):
    pass


class _Speak(_Closed, tag="Speak"):
    text: str


class _Flush(_Closed, tag="Flush"):
    pass


class _Clear(_Closed, tag="Clear"):
    pass


class _Close(_Closed, tag="Close"):
    pass


_MESSAGES: Final[dict[str, Any]] = {
    NOVA: _Finalize | _KeepAlive | _CloseStream,
    FLUX: _ForceEndTurn | _CloseStream,
    AURA: _Speak | _Flush | _Clear | _Close,
}


def read_query(path: str, query: str) -> dict[str, list[str]]:
    """Return the parameters of a connection.

    Raises:
        RefusedError: there is no such path, or a parameter is unknown, missing or wrong.

    """
    if path not in _QUERIES:
        raise RefusedError(404, f"there is no {path}")
    known = _QUERIES[path]
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if name not in known:
            raise RefusedError(400, f"unknown parameter {name!r}")
        if len(values) > 1 and name not in _SEVERAL:
            raise RefusedError(400, f"the parameter {name!r} is given {len(values)} times")
        for value in values:
            if not known[name](value):
                raise RefusedError(400, f"the parameter {name!r} cannot be {value!r}")
    if path != AURA and "model" not in given:
        raise RefusedError(400, "the parameter 'model' is missing")
    if ("encoding" in given) != ("sample_rate" in given):
        raise RefusedError(400, "raw audio needs both encoding and sample_rate")
    if "keyterm" in given and path == NOVA and not given["model"][0].startswith("nova-3"):
        raise RefusedError(400, "keyterm is for nova-3")
    eager = float(given.get("eager_eot_threshold", ["0"])[0])
    if eager > float(given.get("eot_threshold", ["0.7"])[0]):
        raise RefusedError(400, "eager_eot_threshold is above eot_threshold")
    return given


def read_message(path: str, message: str) -> dict[str, Any]:
    """Return a message of text that a client sent.

    Raises:
        RefusedError: it is not JSON, or its type or a field is unknown or wrong.

    """
    try:
        read: dict[str, Any] = msgspec.to_builtins(
            msgspec.json.decode(message, type=_MESSAGES[path])
        )
    except msgspec.DecodeError as error:
        raise RefusedError(400, f"the message cannot be read: {error}") from None
    if len(read.get("text", "")) > 2000:
        raise RefusedError(413, f"a text of {len(read['text'])} characters: at most 2000")
    return read
