import numpy as np
import pytest

from audiocodecs import L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.call import Frame


@pytest.mark.parametrize(
    ("format", "size"), [(MULAW_8K, 160), (L16_16K, 640), (L16_24K, 960)], ids=str
)
def test_seconds_of_a_usual_frame(format: AudioFormat, size: int) -> None:
    assert Frame(bytes(size), format).seconds == 0.02


def test_samples_are_the_decoded_payload() -> None:
    samples = np.array([0, 1, -2, 32767, -32768], np.int16)
    assert Frame(L16_16K.encode(samples), L16_16K).samples.tolist() == samples.tolist()


def test_samples_belong_to_whoever_asked() -> None:
    frame = Frame(bytes(4), L16_16K)
    frame.samples[:] = 7
    assert frame.samples.tolist() == [0, 0]


def test_the_payload_is_the_wire_bytes() -> None:
    payload = b"\xff\x7f\x80"
    assert Frame(payload, MULAW_8K).payload is payload


def test_frames_with_the_same_audio_are_different_frames() -> None:
    assert Frame(b"\xff", MULAW_8K) != Frame(b"\xff", MULAW_8K)


def test_a_frame_shows_its_place_and_length_rather_than_its_bytes() -> None:
    shown = dict(Frame(bytes(160), MULAW_8K, chunk=7).__rich_repr__())
    assert shown == {"track": "inbound", "seconds": 0.02, "chunk": 7}
