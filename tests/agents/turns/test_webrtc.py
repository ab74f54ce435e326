import sys

import numpy as np
import pytest

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.turns import DetectorUnavailableError, WebrtcDetector
from mediaserver.call import Frame


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K, L16_24K])
def test_a_loud_voice_is_speech_and_silence_is_not(format: AudioFormat) -> None:
    times = np.arange(format.rate) / format.rate
    buzz = np.sum([np.sin(2 * np.pi * 150 * n * times) / n for n in range(1, 20)], axis=0)
    voice = (6_000 * buzz).astype(np.int16)
    detector = WebrtcDetector()

    spoken = [
        detector.probability(Frame(format.encode(piece), format)) for piece in np.split(voice, 50)
    ]
    silent = [
        detector.probability(Frame(format.encode(np.zeros_like(piece)), format))
        for piece in np.split(voice, 50)
    ]

    assert np.mean(spoken) > 0.8
    assert silent[-1] == 0


def test_an_unknown_aggressiveness_is_refused() -> None:
    with pytest.raises(ValueError, match="aggressiveness must be 0, 1, 2 or 3, not 4"):
        WebrtcDetector(4)


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", None)

    with pytest.raises(DetectorUnavailableError, match=r"pip install '\.\[agents\]'"):
        WebrtcDetector()
