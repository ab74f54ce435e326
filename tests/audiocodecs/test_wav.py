import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiocodecs import (
    AudioError,
    Samples,
    Wav,
    WavReader,
    alaw_decode,
    decode_wav,
    encode_wav,
    mulaw_decode,
    read_wav,
    write_wav,
)


RAMP = np.arange(-32768, 32768, 8).astype(np.int16)


def file_of(samples: NDArray[np.float64] | Samples, subtype: str, container: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format=container, subtype=subtype)
    return file.getvalue()


def wav_of(format_tag: int, bits: int, data: bytes) -> bytes:
    """Write out a mono WAV file at 8 kHz by hand."""
    size = bits // 8
    chunks = struct.pack("<4sIHHIIHH", b"fmt ", 16, format_tag, 1, 8000, 8000 * size, size, bits)
    chunks += struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 48000])
def test_mono_survives_encoding_and_decoding(rate: int) -> None:
    wav = decode_wav(encode_wav(RAMP, rate))
    assert wav.rate == rate
    assert wav.samples.dtype == np.int16
    assert np.array_equal(wav.samples, RAMP)


def test_stereo_survives_encoding_and_decoding() -> None:
    stereo = np.stack([RAMP, RAMP[::-1]], axis=1)
    assert np.array_equal(decode_wav(encode_wav(stereo, 8000)).samples, stereo)


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_a_file_may_be_empty(shape: tuple[int, int] | tuple[int]) -> None:
    wav = decode_wav(encode_wav(np.zeros(shape, np.int16), 8000))
    assert wav.samples.shape == shape
    assert wav.seconds == 0


def test_a_view_is_written_as_it_reads() -> None:
    assert encode_wav(RAMP[::-2], 8000) == encode_wav(RAMP[::-2].copy(), 8000)


def test_a_clip_longer_than_one_read_is_whole() -> None:
    samples = np.resize(RAMP, 200_001)
    assert np.array_equal(decode_wav(encode_wav(samples, 8000)).samples, samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wider_samples_are_read_exactly(subtype: str) -> None:
    wav = decode_wav(file_of(RAMP / 32768, subtype))
    assert wav.samples.dtype == np.int16
    assert np.array_equal(wav.samples, RAMP)


def test_eight_bit_samples_are_unsigned_and_centred_on_128() -> None:
    wav = decode_wav(wav_of(1, 8, b"\x00\x80\x81\xff"))
    assert wav.samples.tolist() == [-32768, 0, 256, 127 * 256]


@pytest.mark.parametrize(("tag", "decode"), [(7, mulaw_decode), (6, alaw_decode)])
def test_g711_files_decode_as_g711_payloads_do(tag: int, decode: Callable[..., Any]) -> None:
    codes = bytes(range(256))
    assert np.array_equal(decode_wav(wav_of(tag, 8, codes)).samples, decode(codes))


def test_floats_saturate_and_what_is_no_number_is_silent() -> None:
    data = struct.pack("<7f", 1.0, -1.0, 7.5, -7.5, float("nan"), float("inf"), -float("inf"))
    assert decode_wav(wav_of(3, 32, data)).samples.tolist() == [
        *[32767, -32768, 32767, -32768],
        *[0, 32767, -32768],
    ]


def test_flac_is_read() -> None:
    wav = decode_wav(file_of(RAMP, "PCM_16", "FLAC"))
    assert np.array_equal(wav.samples, RAMP)


def test_a_subtype_that_cannot_seek_is_read() -> None:
    tone = 0.5 * np.sin(np.arange(1600) / 5)
    samples = decode_wav(file_of(tone, "GSM610")).samples
    assert np.corrcoef(samples[:1600], tone)[0, 1] > 0.9


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decode_takes_every_kind_of_bytes(
    kind: type[bytearray] | type[bytes] | type[memoryview],
) -> None:
    assert np.array_equal(decode_wav(kind(encode_wav(RAMP, 8000))).samples, RAMP)


@pytest.mark.parametrize("data", ["RIFF", None, RAMP])
def test_decode_refuses_what_is_not_bytes(data: Any) -> None:
    with pytest.raises(AudioError, match="bytes, bytearray or memoryview, not "):
        decode_wav(data)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\0" * 3000, encode_wav(RAMP, 8000)[:30]])
def test_data_without_audio_is_refused(data: bytes) -> None:
    with pytest.raises(AudioError, match=rf"{len(data)} bytes.* cannot be read as WAV or FLAC"):
        decode_wav(data)


def test_other_containers_are_refused_by_name() -> None:
    with pytest.raises(AudioError, match=r"only WAV and FLAC can be read, and .* is AIFF$"):
        decode_wav(file_of(RAMP, "PCM_16", "AIFF"))


def test_a_file_cut_short_gives_what_is_there() -> None:
    data = encode_wav(RAMP, 8000)
    assert np.array_equal(decode_wav(data[:1044]).samples, RAMP[:500])


def test_a_length_left_open_by_a_streaming_writer_reads_to_the_end() -> None:
    data = bytearray(encode_wav(RAMP, 8000))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert np.array_equal(decode_wav(data).samples, RAMP)


@given(st.integers(0, 8), st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_is_read_or_refused(kind: int, damage: list[tuple[int, int]]) -> None:
    data = bytearray(DAMAGED[kind])
    for position, value in damage:
        data[position] = value
    try:
        wav = decode_wav(data)
    except AudioError:
        return
    assert wav.mono().dtype == np.int16
    assert wav.seconds >= 0


DAMAGED = [
    *[
        file_of(RAMP[:400], subtype)
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")
    ],
    file_of(RAMP[:400], "PCM_16", "FLAC"),
    file_of(RAMP[:400], "PCM_16", "RF64"),
]


@pytest.mark.parametrize("rate", [0, -8000, 8000.0, "8000", None])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(AudioError, match=f"whole number of Hz above 0, not {rate!r}"):
        encode_wav(RAMP, rate)


@pytest.mark.parametrize(
    ("samples", "rate"), [(np.zeros((1, 2000), np.int16), 8000), (RAMP, 2**31), (RAMP, 2**70)]
)
def test_what_a_wav_file_cannot_hold_is_refused(samples: Samples, rate: int) -> None:
    with pytest.raises(
        AudioError, match=r"up to 1024 channels .* not samples of shape .* at \d+ Hz"
    ):
        encode_wav(samples, rate)


@pytest.mark.parametrize("samples", [RAMP / 32768, RAMP[None, None], [1, 2]])
def test_encode_refuses_what_is_not_int16(
    samples: Any,
) -> None:
    with pytest.raises(AudioError, match=r"int16 array of shape \(n,\) or \(n, channels\), not "):
        encode_wav(samples, 8000)


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_files_are_written_and_read(tmp_path: Path, kind: Callable[..., Any] | type[str]) -> None:
    path = kind(tmp_path / "clip.wav")
    write_wav(path, RAMP, 16000)
    wav = read_wav(path)
    assert wav.rate == 16000
    assert np.array_equal(wav.samples, RAMP)


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not audio")
    with pytest.raises(AudioError, match=r"notes\.txt' cannot be read as WAV or FLAC: "):
        read_wav(path)


def test_a_refused_write_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    with pytest.raises(AudioError):
        write_wav(path, RAMP, 0)
    assert not path.exists()


def test_seconds_is_the_length_of_a_clip() -> None:
    assert Wav(np.zeros((4000, 2), np.int16), 8000).seconds == 0.5


def test_mono_of_a_mono_clip_is_its_samples() -> None:
    assert Wav(RAMP, 8000).mono() is RAMP


def test_mono_is_the_mean_of_the_channels() -> None:
    stereo = np.array([[100, 200], [-32768, -32768], [32767, 32767], [1, 2]], np.int16)
    mono = Wav(stereo, 8000).mono()
    assert mono.dtype == np.int16
    assert mono.tolist() == [150, -32768, 32767, 2]


def test_a_reader_reads_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    write_wav(path, np.stack([RAMP, -RAMP - 1], axis=1), 16000)
    with WavReader(path) as reader:
        assert (reader.rate, reader.channels) == (16000, 2)
        assert reader.read(10).tolist() == [[value, -value - 1] for value in RAMP[:10].tolist()]
        reader.skip(20)
        assert reader.read(1)[0, 0] == RAMP[30]
        reader.skip(len(RAMP))
        assert len(reader.read(10)) == 0


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "GSM610", "IMA_ADPCM", "PCM_24"])
def test_pieces_of_every_encoding_are_the_clip(subtype: str) -> None:
    data = file_of(RAMP[:4000] / 32768, subtype)
    whole = decode_wav(data).samples
    with WavReader(io.BytesIO(data)) as reader:
        first = reader.read(100)
    with WavReader(io.BytesIO(data)) as reader:
        reader.skip(100)
        rest = reader.read(len(whole))
    assert np.array_equal(np.concatenate([first, rest]), whole)


def test_a_reader_closes_a_file_that_it_refuses() -> None:
    file = io.BytesIO(b"not audio")
    with pytest.raises(AudioError, match="9 bytes"):
        WavReader(file)
    assert file.closed


def test_flac_whose_length_was_left_open_is_read_to_its_end() -> None:
    samples = np.resize(RAMP, 100_000)
    data = bytearray(file_of(samples, "PCM_16", "FLAC"))
    data[21] &= 0xF0  # RFC 9639, section 8.2: 0 is an unknown number of samples
    data[22:26] = bytes(4)
    assert np.array_equal(decode_wav(data).samples, samples)
    with WavReader(io.BytesIO(data)) as reader:
        reader.skip(70_000)
        assert np.array_equal(reader.read(100), samples[70_000:70_100])


@given(st.floats(0, 1, exclude_max=True))
def test_flac_that_was_cut_short_is_refused_with_a_reason(part: float) -> None:
    data = file_of(RAMP, "PCM_16", "FLAC")
    with pytest.raises(AudioError, match=r"cannot be read as WAV or FLAC: .+"):
        decode_wav(data[: int(part * len(data))])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "prompt.wav")
    with pytest.raises(AudioError, match=r"prompt.wav' is a pipe: write it to a file, or"):
        read_wav(tmp_path / "prompt.wav")


def test_a_path_may_be_bytes(tmp_path: Path) -> None:
    write_wav(tmp_path / "ramp.wav", RAMP, 8000)
    with WavReader(os.fsencode(tmp_path / "ramp.wav")) as reader:
        assert np.array_equal(reader.read(len(RAMP)), RAMP)


@pytest.mark.parametrize("file", [None, 3, b"RIFF".decode])
def test_what_is_neither_a_path_nor_a_file_is_refused(file: Any) -> None:
    with pytest.raises(AudioError, match="audio is read from a path or an open file, not"):
        WavReader(file)
