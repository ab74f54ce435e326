import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import AudioError, l16_decode, l16_encode


def test_the_least_significant_byte_comes_first() -> None:
    assert l16_decode(b"\x01\x02\xff\xff\x00\x80").tolist() == [0x0201, -1, -32768]
    assert l16_encode(np.array([0x0201, -1, -32768], np.int16)) == b"\x01\x02\xff\xff\x00\x80"


@given(st.binary(max_size=100).map(lambda half: half + half))
def test_samples_survive_encoding_and_decoding(payload: Any) -> None:
    decoded = l16_decode(payload)
    assert decoded.dtype == np.int16
    assert tuple(decoded) == struct.unpack(f"<{len(payload) // 2}h", payload)
    assert l16_encode(decoded) == payload


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_decode_takes_every_kind_of_bytes(kind: type[bytearray] | type[memoryview]) -> None:
    assert l16_decode(kind(b"\x01\x00\x02\x00")).tolist() == [1, 2]


def test_decode_takes_a_strided_memoryview() -> None:
    assert l16_decode(memoryview(b"\x01-\x00-\x02-\x00-")[::2]).tolist() == [1, 2]


def test_decode_returns_an_array_of_the_callers_own() -> None:
    payload = bytearray(b"\x01\x00\x02\x00")
    samples = l16_decode(payload)
    payload[:] = bytes(4)
    samples += 1
    assert samples.tolist() == [2, 3]


def test_an_empty_payload_decodes_to_no_samples() -> None:
    assert l16_decode(b"").shape == (0,)


@pytest.mark.parametrize("size", [1, 319])
def test_an_odd_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(AudioError, match=f"even number of bytes, not {size}$"):
        l16_decode(bytes(size))


@pytest.mark.parametrize("payload", ["ab", np.zeros(2, np.int16), None])
def test_decode_refuses_what_is_not_bytes(payload: Any) -> None:
    with pytest.raises(AudioError, match="bytes, bytearray or memoryview, not "):
        l16_decode(payload)


def test_encode_takes_views() -> None:
    assert l16_encode(np.arange(6, dtype=np.int16)[::-2]) == b"\5\0\3\0\1\0"


@pytest.mark.parametrize("samples", [np.zeros(2), np.zeros((2, 2), np.int16), b"\0\0"])
def test_encode_refuses_what_is_not_one_dimensional_int16(
    samples: Any,
) -> None:
    with pytest.raises(AudioError, match="one-dimensional int16 array, not "):
        l16_encode(samples)
