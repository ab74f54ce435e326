"""The page decodes the formats of Plivo's streams as the server does."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiocodecs import AudioFormat
from mediaserver.protocol.media_format import PLIVO_FORMATS


@pytest.mark.parametrize("format", PLIVO_FORMATS, ids=str)
def test_decodes_as_the_server_does(opened: Callable[..., Any], format: AudioFormat) -> None:
    payload = bytes(range(256)) if format.sample_bytes == 1 else bytes(range(255, -1, -1)) * 4
    script = """async ([format, payload]) => {
        const { audioFormat } = await import(location.origin + "/formats.js");
        const { rate, decode } = audioFormat(format);
        return [rate, [...decode(payload)].map((sample) => sample * 32768)];
    }"""
    asked = [str(format), base64.b64encode(payload).decode()]
    rate, samples = opened().evaluate(script, asked)
    assert rate == format.rate
    np.testing.assert_array_equal(samples, format.decode(payload))


def test_an_unknown_format_has_no_decoder(opened: Callable[..., Any]) -> None:
    script = """async () => {
        const { audioFormat } = await import(location.origin + "/formats.js");
        return audioFormat("audio/opus;rate=48000");
    }"""
    assert opened().evaluate(script) is None
