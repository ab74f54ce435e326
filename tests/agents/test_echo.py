import numpy as np
import pytest

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents import Echo
from mediaserver.sandbox import CallReport
from mediaserver.testing import joined, run_virtual
from tests.agents.both_tracks import call_with_both_tracks


FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_the_caller_hears_what_they_said(format: AudioFormat) -> None:
    async def main() -> CallReport:
        async with joined(Echo, format=format, audio=said) as line:
            await line.phone.wait_until(3.0)
            return line.phone.report()

    said = (8000 * np.sin(np.arange(2 * format.rate) / 20)).astype(np.int16)
    report = run_virtual(main())
    assert report.recording is not None
    caller, agent = report.recording.T
    late = int(np.flatnonzero(agent)[0] - np.flatnonzero(caller)[0])
    assert 0 <= late <= 0.04 * format.rate
    assert np.array_equal(agent[late : late + len(said)], caller[: len(said)])
    assert report.gaps == []


def test_mu_law_is_not_transcoded() -> None:
    """Codes that stand for the same sample, as plus and minus zero, come back as they were."""

    async def main() -> bytes:
        async with joined(Echo) as line:
            line.phone._voice.say(bytes(range(256)) * 10)
            await line.phone.wait_until(1.0)
            return b"".join(bytes(payload) for _, payload in line.phone._buffer._heard)

    assert bytes(range(256)) * 10 in run_virtual(main())


def test_the_other_party_is_not_echoed() -> None:
    report = call_with_both_tracks(Echo, caller=(9.0, 9.0), other=(0.5, 1.5), until=2.0)
    assert report.audio_played == 0.0
