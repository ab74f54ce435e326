from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from audiocodecs import AudioError, Samples, silence
from audiocodecs.samples import as_bytes, require_channels, require_mono


def test_silence_is_zeros_of_the_given_length() -> None:
    samples = silence(0.02, 8000)
    assert samples.dtype == np.int16
    assert samples.shape == (160,)
    assert not samples.any()


def test_silence_is_rounded_to_the_nearest_sample() -> None:
    assert len(silence(0.02, 22050)) == 441
    assert len(silence(0.00019, 8000)) == 2


def test_silence_may_be_empty() -> None:
    assert len(silence(0, 8000)) == 0


@pytest.mark.parametrize("seconds", [-0.001, float("nan"), float("inf")])
def test_silence_of_no_length_is_refused(seconds: float) -> None:
    with pytest.raises(AudioError, match=rf"0 seconds or more, not {seconds!r}"):
        silence(seconds, 8000)


@pytest.mark.parametrize("rate", [0, -8000])
def test_silence_without_a_rate_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=f"above 0 Hz, not {rate}"):
        silence(1, rate)


@pytest.mark.parametrize(
    ("given", "described"),
    [
        (np.zeros(4, np.float32), r"float32 of shape \(4,\)"),
        (np.zeros(4, np.uint16), r"uint16 of shape \(4,\)"),
        (np.zeros(4, ">i2"), r">i2 of shape \(4,\)"),
        (np.zeros((4, 1), np.int16), r"int16 of shape \(4, 1\)"),
        (np.int16(4), r"int16 np.int16\(4\)"),
        (b"\0\0", r"bytes b'\\x00\\x00'"),
        ([1, 2], r"list \[1, 2\]"),
        (None, "NoneType None"),
    ],
)
def test_require_mono_says_what_was_given_and_what_is_allowed(given: Any, described: str) -> None:
    with pytest.raises(AudioError, match=f"one-dimensional int16 array, not {described}"):
        require_mono(given)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((4, 2), np.int32),
        np.zeros((4, 2, 1), np.int16),
        np.zeros((4, 0), np.int16),
        np.array(4, np.int16),
        "samples",
    ],
)
def test_require_channels_says_what_was_given_and_what_is_allowed(
    given: NDArray[np.int32] | Samples | str,
) -> None:
    with pytest.raises(AudioError, match=r"of shape \(n,\) or \(n, channels\), not "):
        require_channels(given)


@pytest.mark.parametrize("shape", [(0,), (3,), (0, 2), (3, 1), (3, 2)])
def test_require_channels_takes_mono_and_interleaved_arrays(
    shape: tuple[int, int] | tuple[int],
) -> None:
    require_channels(np.zeros(shape, np.int16))


@pytest.mark.parametrize(
    "payload", [b"\1\2", bytearray(b"\1\2"), memoryview(b"\1\2"), memoryview(b"\1-\2-")[::2]]
)
def test_as_bytes_takes_every_kind_of_bytes(payload: bytearray | bytes | memoryview) -> None:
    assert as_bytes(payload) == b"\1\2"


@pytest.mark.parametrize("payload", ["text", [1, 2], None, np.zeros(2, np.int16)])
def test_as_bytes_refuses_all_else(payload: Samples | list[int] | str | None) -> None:
    with pytest.raises(AudioError, match="bytes, bytearray or memoryview, not "):
        as_bytes(payload)
