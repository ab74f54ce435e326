"""WAV files as writers leave them that could not seek back, or did not finish."""

import io
import struct
from typing import BinaryIO, cast

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import AudioError, decode_wav, encode_wav, read_wav
from audiocodecs.riff import FileOf, find_audio


SAMPLES = (np.arange(1, 2001) * 16).astype(np.int16)
HEADER = 44


def left_open(riff_size: int, data_size: int) -> bytes:
    data = bytearray(encode_wav(SAMPLES, 8000))
    struct.pack_into("<I", data, 4, riff_size)
    struct.pack_into("<I", data, 40, data_size)
    return bytes(data)


def chunk(name: bytes, content: bytes, pad: bytes = b"\0") -> bytes:
    return struct.pack("<4sI", name, len(content)) + content + pad * (len(content) % 2)


def riff(*chunks: bytes, size: int | None = None, kind: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", kind, len(body) if size is None else size) + body


FORMAT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
AUDIO = SAMPLES.astype("<i2").tobytes()


@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000024, 4036, 8, 99])
@pytest.mark.parametrize(
    "data_size", [0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFFFDB, 0x7FFFF000, 0x80000000, 4001]
)
def test_whatever_size_was_left_the_samples_go_to_the_end(riff_size: int, data_size: int) -> None:
    assert np.array_equal(decode_wav(left_open(riff_size, data_size)).samples, SAMPLES)


def test_silence_behind_a_size_of_zero_is_audio_too() -> None:
    data = riff(FORMAT, struct.pack("<4sI", b"data", 0), bytes(3200), size=0)
    assert len(decode_wav(data).samples) == 1600


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW"])
def test_every_encoding_is_read_to_the_end(subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, 8000, format="WAV", subtype=subtype)
    whole = file.getvalue()
    data = bytearray(whole)
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4)
    if b"fact" in data:
        fact = data.index(b"fact") + 8
        data[fact : fact + 4] = bytes(4)
    end = find_audio(io.BytesIO(whole))
    assert end is not None
    data = data[: end.start + end.size]  # without chunks behind the audio
    assert np.array_equal(decode_wav(data).samples, decode_wav(whole).samples)


def long_riff(kind: bytes, data_size: int, *behind: bytes) -> bytes:
    sizes = chunk(b"ds64", struct.pack("<QQQI", 2**64 - 1, data_size, 0, 0))
    audio = struct.pack("<4sI", b"data", 0xFFFFFFFF) + AUDIO
    return riff(sizes, FORMAT, audio, *behind, size=0xFFFFFFFF, kind=kind)


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
@pytest.mark.parametrize("data_size", [0, 2**64 - 1, 2**63, len(AUDIO)])
def test_an_rf64_is_read_to_the_end(kind: bytes, data_size: int) -> None:
    assert np.array_equal(decode_wav(long_riff(kind, data_size)).samples, SAMPLES)


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
def test_chunks_behind_the_audio_of_an_rf64_are_not_heard(kind: bytes) -> None:
    data = long_riff(kind, len(AUDIO), chunk(b"axml", b"<ebuCoreMain/>" * 9))
    assert np.array_equal(decode_wav(data).samples, SAMPLES)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, len(AUDIO)])
def test_a_file_with_the_other_byte_order_is_read_to_the_end(size: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, 8000, format="WAV", subtype="PCM_16", endian="BIG")
    data = bytearray(file.getvalue())
    assert data[:4] == b"RIFX"
    struct.pack_into(">I", data, 4, size)
    struct.pack_into(">I", data, 40, size)
    assert np.array_equal(decode_wav(data).samples, SAMPLES)
    with pytest.raises(AudioError, match="it ends before its audio"):
        decode_wav(data[:HEADER])


@given(st.integers(0, len(AUDIO) + HEADER))
def test_a_file_that_was_cut_gives_the_samples_that_are_there(length: int) -> None:
    data = encode_wav(SAMPLES, 8000)[:length]
    try:
        samples = decode_wav(data).samples
    except AudioError:
        assert length < HEADER + 2
        return
    assert np.array_equal(samples, SAMPLES[: (length - HEADER) // 2])


@given(
    st.integers(0, len(AUDIO) + HEADER),
    st.sampled_from([0, 4036, 0xFFFFFFFF]),
    st.sampled_from([0, 0xFFFFFFFF, 0x7FFFFFDB]),
)
def test_an_open_file_that_was_cut_gives_the_samples_that_are_there(
    length: int, riff_size: int, data_size: int
) -> None:
    try:
        samples = decode_wav(left_open(riff_size, data_size)[:length]).samples
    except AudioError:
        assert length < HEADER + 2
        return
    assert np.array_equal(samples, SAMPLES[: (length - HEADER) // 2])


@pytest.mark.parametrize("data_size", [0, 0xFFFFFFFF, 4000])
def test_a_header_without_the_audio_that_it_promises_is_refused(data_size: int) -> None:
    with pytest.raises(AudioError, match=r"the data \(44 bytes\) .*: it ends before its audio"):
        decode_wav(left_open(0, data_size)[:HEADER])


def test_a_file_that_is_empty_and_closed_has_no_samples() -> None:
    assert len(decode_wav(riff(FORMAT, chunk(b"data", b""))).samples) == 0
    tagged = riff(FORMAT, chunk(b"data", b""), chunk(b"LIST", b"INFOISFT\4\0\0\0me\0\0"))
    assert len(decode_wav(tagged).samples) == 0


def test_chunks_behind_the_audio_are_not_heard() -> None:
    data = riff(FORMAT, chunk(b"data", AUDIO), chunk(b"LIST", b"INFO"), size=0)
    assert np.array_equal(decode_wav(data).samples, SAMPLES)


@pytest.mark.parametrize("pad", [b"\0", b" ", b"x", b""])
def test_a_chunk_of_odd_size_may_lack_its_pad(pad: bytes) -> None:
    data = riff(chunk(b"LIST", b"INFO1", pad), FORMAT, chunk(b"data", AUDIO))
    assert np.array_equal(decode_wav(data).samples, SAMPLES)


def test_audio_of_odd_size_loses_its_half_sample() -> None:
    data = riff(FORMAT, struct.pack("<4sI", b"data", 5), AUDIO[:5])
    assert decode_wav(data).samples.tolist() == SAMPLES[:2].tolist()


@pytest.mark.parametrize(
    "data",
    [
        riff(chunk(b"data", AUDIO)),
        riff(FORMAT),
        riff(chunk(b"data", AUDIO), FORMAT),
        riff(*[chunk(b"JUNK", b"")] * 2000, FORMAT, chunk(b"data", AUDIO))[:9000],
        b"RIFF\0\0\0\0AVI " + FORMAT + chunk(b"data", AUDIO),
    ],
)
def test_what_has_no_audio_is_refused(data: bytes) -> None:
    with pytest.raises(AudioError):
        decode_wav(data)


def test_a_file_on_disk_is_read_to_its_end(tmp_path: object) -> None:
    path = f"{tmp_path}/streamed.wav"
    with open(path, "wb") as file:
        file.write(left_open(0, 0))
    assert np.array_equal(read_wav(path).samples, SAMPLES)


def test_the_new_file_reads_as_its_bytes_do() -> None:
    data = left_open(0, 0)
    audio = find_audio(io.BytesIO(data))
    assert audio is not None
    file = FileOf(cast("BinaryIO", io.BytesIO(data)), audio)
    whole = encode_wav(SAMPLES, 8000)
    assert file.readable()
    assert file.seekable()
    assert file.read() == whole
    assert file.seek(-10, io.SEEK_END) == file.tell() == len(whole) - 10
    assert file.read(100) == whole[-10:]
    assert file.seek(40) == 40
    assert file.read(10) == whole[40:50]
    assert file.seek(-1000, io.SEEK_CUR) == 0
