"""The codecs against ITU-T G.711: its tables of values, and its algorithm written out anew."""

import bisect
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiocodecs import AudioError, Samples, alaw_decode, alaw_encode, mulaw_decode, mulaw_encode
from audiocodecs.g711 import audioop  # type: ignore[attr-defined] # imported there without its warning


CODES = bytes(range(256))
SAMPLES = np.arange(-32768, 32768).astype(np.int16)

DECODERS = pytest.mark.parametrize("decode", [mulaw_decode, alaw_decode])
ENCODERS = pytest.mark.parametrize("encode", [mulaw_encode, alaw_encode])


def magnitude(sample: int) -> int:
    """As the reference has it: one's complement, so that 0 and -1 are both the smallest."""
    return -sample - 1 if sample < 0 else sample


def mulaw_code(sample: int) -> int:
    """Look for the leading one of the biased 14-bit magnitude, as the reference does."""
    biased = min(magnitude(sample) // 4 + 33, 8191)
    segment = 0
    while biased >= 64:
        biased //= 2
        segment += 1
    interval = (biased - 32) // 2
    return (0x80 if sample >= 0 else 0) + (7 - segment) * 16 + (15 - interval)


def mulaw_sample(code: int) -> Any:
    segment, interval = divmod(127 - code % 128, 16)
    # the middle of the interval, without the bias of 33, in 14 bits; G.191 aligns it left
    value = 4 * ((2 * interval + 33) * 2**segment - 33)
    return value if code >= 128 else -value


def alaw_code(sample: int) -> int:
    """Halve the 12-bit magnitude until it fits the linear part, as the reference does."""
    value = magnitude(sample) // 16
    segment = 0
    while value >= 32:
        value //= 2
        segment += 1
    # the first two segments together are linear
    return ((128 if sample >= 0 else 0) + 16 * segment + value) ^ 0b01010101


def alaw_sample(code: int) -> Any:
    plain = code ^ 0b01010101
    segment, interval = divmod(plain % 128, 16)
    leading, shift = (16, segment - 1) if segment else (0, 0)
    value = (16 * (leading + interval) + 8) * 2**shift
    return value if plain >= 128 else -value


def mulaw_decision_values() -> list[int]:
    """Return table 2/G.711, column 2: where one code ends and the next begins, to 8159."""
    values = [1]
    for segment in range(8):
        for _ in range(15 if segment == 0 else 16):
            values.append(values[-1] + 2 * 2**segment)
    return values[:-1]


def alaw_decision_values() -> list[int]:
    """Return table 1/G.711, column 2, below 4096."""
    values = [2]
    for segment in range(1, 8):
        for _ in range(31 if segment == 1 else 16):
            values.append(values[-1] + 2**segment)
    return values[:-1]


def test_mulaw_encodes_every_sample_as_the_reference_does() -> None:
    assert mulaw_encode(SAMPLES) == bytes(map(mulaw_code, range(-32768, 32768)))


def test_mulaw_decodes_every_code_as_the_reference_does() -> None:
    assert mulaw_decode(CODES).tolist() == list(map(mulaw_sample, CODES))


def test_alaw_encodes_every_sample_as_the_reference_does() -> None:
    assert alaw_encode(SAMPLES) == bytes(map(alaw_code, range(-32768, 32768)))


def test_alaw_decodes_every_code_as_the_reference_does() -> None:
    assert alaw_decode(CODES).tolist() == list(map(alaw_sample, CODES))


def test_mulaw_changes_code_at_the_decision_values_of_table_2() -> None:
    decisions = mulaw_decision_values()
    assert len(decisions) == 127
    assert decisions[-1] == 7903
    expected = [0xFF - bisect.bisect_right(decisions, sample // 4) for sample in range(32768)]
    assert mulaw_encode(SAMPLES[32768:]) == bytes(expected)


def test_alaw_changes_code_at_the_decision_values_of_table_1() -> None:
    decisions = alaw_decision_values()
    assert len(decisions) == 127
    assert decisions[-1] == 3968
    expected = [(0x80 + bisect.bisect_right(decisions, s // 8)) ^ 0x55 for s in range(32768)]
    assert alaw_encode(SAMPLES[32768:]) == bytes(expected)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (0x80, 8031),
        (0x8F, 4191),
        (0x9F, 2079),
        (0xAF, 1023),
        (0xBF, 495),
        (0xCF, 231),
        (0xDF, 99),
        (0xEF, 33),
        (0xFE, 2),
        (0xFF, 0),
        (0x7F, 0),
        (0x7E, -2),
        (0x00, -8031),
    ],
)
def test_mulaw_decodes_to_the_published_14_bit_values(code: int, value: int) -> None:
    assert mulaw_decode(bytes([code])).tolist() == [4 * value]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (0xAA, 4032),
        (0xA5, 2112),
        (0xB5, 1056),
        (0x85, 528),
        (0x95, 264),
        (0xE5, 132),
        (0xF5, 66),
        (0xD5, 1),
        (0x55, -1),
        (0x2A, -4032),
    ],
)
def test_alaw_decodes_to_the_published_13_bit_values(code: int, value: int) -> None:
    assert alaw_decode(bytes([code])).tolist() == [8 * value]


def test_decoding_equals_audioop() -> None:
    assert mulaw_decode(CODES).tobytes() == audioop.ulaw2lin(CODES, 2)
    assert alaw_decode(CODES).tobytes() == audioop.alaw2lin(CODES, 2)


def test_alaw_encoding_equals_audioop() -> None:
    assert alaw_encode(SAMPLES) == audioop.lin2alaw(SAMPLES.tobytes(), 2)


def test_mulaw_encoding_differs_from_audioop_at_508_negative_samples_by_one_step() -> None:
    ours = np.frombuffer(mulaw_encode(SAMPLES), np.uint8)
    theirs = np.frombuffer(audioop.lin2ulaw(SAMPLES.tobytes(), 2), np.uint8)
    different = ours != theirs
    assert different.sum() == 508
    assert SAMPLES[different].max() < 0
    assert np.abs(ours[different].astype(int) - theirs[different]).max() == 1


def test_every_alaw_code_survives_decoding_and_encoding() -> None:
    assert alaw_encode(alaw_decode(CODES)) == CODES


def test_every_mulaw_code_but_negative_zero_survives_decoding_and_encoding() -> None:
    assert mulaw_encode(mulaw_decode(CODES)) == CODES.replace(b"\x7f", b"\xff")


@DECODERS
@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda b: memoryview(b + b)[:256]])
def test_decode_takes_every_kind_of_bytes(
    decode: Callable[..., Any], kind: Callable[..., Any] | type[bytearray] | type[memoryview]
) -> None:
    assert np.array_equal(decode(kind(CODES)), decode(CODES))


@DECODERS
def test_decode_takes_a_strided_memoryview(decode: Callable[..., Any]) -> None:
    assert np.array_equal(decode(memoryview(CODES)[::2]), decode(CODES)[::2])


@DECODERS
def test_decode_returns_an_array_of_the_callers_own(decode: Callable[..., Any]) -> None:
    payload = bytearray(CODES)
    samples = decode(payload)
    assert samples.dtype == np.int16
    payload[:] = bytes(256)
    samples[0] += 1
    assert np.array_equal(samples[1:], decode(CODES)[1:])


@DECODERS
def test_an_empty_payload_decodes_to_no_samples(decode: Callable[..., Any]) -> None:
    assert decode(b"").shape == (0,)
    assert decode(b"").dtype == np.int16


@DECODERS
@pytest.mark.parametrize("payload", ["audio", SAMPLES[:160], None, 160])
def test_decode_refuses_what_is_not_bytes(
    decode: Callable[..., Any], payload: Samples | int | str | None
) -> None:
    with pytest.raises(AudioError, match="bytes, bytearray or memoryview, not "):
        decode(payload)


@ENCODERS
@pytest.mark.parametrize("length", [0, 1, 160, 961, 65536])
def test_encode_gives_one_byte_a_sample_for_frames_and_blocks(
    encode: Callable[..., Any], length: int
) -> None:
    assert encode(SAMPLES[:length]) == encode(SAMPLES)[:length]


@ENCODERS
@pytest.mark.parametrize("cut", [slice(None, None, 2), slice(None, None, -1), slice(7, 5000, 3)])
def test_encode_takes_views(encode: Callable[..., Any], cut: slice) -> None:
    assert encode(SAMPLES[cut]) == encode(SAMPLES)[cut]


@ENCODERS
def test_encode_takes_a_column_of_a_stereo_clip(encode: Callable[..., Any]) -> None:
    stereo = np.stack([SAMPLES, SAMPLES[::-1]], axis=1)
    assert encode(stereo[:, 0]) == encode(SAMPLES)


@ENCODERS
def test_encode_leaves_its_input_alone(encode: Callable[..., Any]) -> None:
    samples = SAMPLES.copy()
    samples.flags.writeable = False
    encode(samples)
    assert np.array_equal(samples, SAMPLES)


@ENCODERS
@pytest.mark.parametrize(
    "samples", [SAMPLES.astype(np.int32), SAMPLES.astype(">i2"), SAMPLES[:, None], b"\0\0", [0]]
)
def test_encode_refuses_what_is_not_one_dimensional_int16(
    encode: Callable[..., Any], samples: Any
) -> None:
    with pytest.raises(AudioError, match="one-dimensional int16 array, not "):
        encode(samples)


@ENCODERS
def test_louder_samples_never_get_a_quieter_code(encode: Callable[..., Any]) -> None:
    decode = {mulaw_encode: mulaw_decode, alaw_encode: alaw_decode}[encode]
    heard = decode(encode(SAMPLES)).tolist()
    assert all(a <= b for a, b in itertools.pairwise(heard))


def test_importing_gives_no_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import audiocodecs"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
