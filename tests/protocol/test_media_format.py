from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol import ProtocolError
from mediaserver.protocol.media_format import read_media_format


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"encoding": "audio/x-mulaw", "sampleRate": 8000}, MULAW_8K),
        ({"encoding": "audio/x-l16", "sampleRate": 8000}, L16_8K),
        ({"encoding": "audio/x-l16", "sampleRate": 16000}, L16_16K),
        ({"encoding": "audio/x-l16", "sampleRate": 24000}, L16_24K),
        ({"encoding": "audio/x-l16", "sampleRate": "16000"}, L16_16K),
        ({"encoding": "audio/x-l16", "sampleRate": 16000.0}, L16_16K),
        ({"type": "audio/x-l16", "rate": 16000}, L16_16K),
        ({"type": "audio/x-l16", "rate": "16000"}, L16_16K),
        ({"encoding": "audio/x-l16;rate=16000"}, L16_16K),
        ({"encoding": "audio/x-l16; Rate = 16000"}, L16_16K),
        ({"encoding": "audio/x-mulaw;rate=8000", "sampleRate": 8000, "channels": 1}, MULAW_8K),
        ({"encoding": "AUDIO/X-L16", "sampleRate": 8000}, L16_8K),
        ({"encoding": "audio/x-mulaw"}, MULAW_8K),
        ({"encoding": "audio/x-mulaw", "sampleRate": None}, MULAW_8K),
        ("audio/x-l16;rate=24000", L16_24K),
    ],
)
def test_every_way_of_naming_a_format(
    value: dict[str, int | str] | dict[str, str] | str, expected: AudioFormat
) -> None:
    assert read_media_format(value) is expected


def test_a_rate_of_its_own_wins_over_the_suffix() -> None:
    value = {"encoding": "audio/x-l16;rate=8000", "sampleRate": 16000}
    assert read_media_format(value) is L16_16K


@pytest.mark.parametrize("value", [None, {}, [], 8000, {"sampleRate": 8000}, {"encoding": 7}])
def test_no_encoding_is_no_format(value: dict[str, int] | int | list[Any] | None) -> None:
    assert read_media_format(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"encoding": "audio/opus", "sampleRate": 48000},
        {"encoding": "audio/x-alaw", "sampleRate": 8000},
        {"encoding": "audio/x-mulaw", "sampleRate": 16000},
        {"encoding": "audio/x-l16", "sampleRate": 11025},
        {"encoding": "audio/x-l16", "sampleRate": -8000},
        {"encoding": "audio/x-l16", "sampleRate": {}},
        {"encoding": "audio/x-l16", "sampleRate": "fast"},
        {"encoding": "audio/x-l16"},
        "audio/x-l16;ptime=20",
    ],
)
def test_other_formats_are_refused_and_the_four_are_named(
    value: dict[str, dict[Any, Any] | str] | dict[str, int | str] | dict[str, str] | str,
) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_media_format(value)
    assert caught.value.reason == "unsupported_format"
    for name in ("audio/x-mulaw;rate=8000", "audio/x-l16;rate=24000"):
        assert name in str(caught.value)


def test_the_refusal_says_what_was_asked_for() -> None:
    with pytest.raises(ProtocolError, match=r"'audio/x-l16' at 11025"):
        read_media_format({"encoding": "audio/x-l16", "sampleRate": 11025})
    with pytest.raises(ProtocolError, match=r"'audio/x-l16' at no rate"):
        read_media_format({"encoding": "audio/x-l16"})
