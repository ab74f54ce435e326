import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiocodecs import L16_24K, MULAW_8K, AudioError, AudioFormat, Samples, encode_wav
from mediaserver import Frame
from mediaserver.agents.services.audio_body import AudioBody


def tone(seconds: float, rate: int) -> Samples:
    return (9000 * np.sin(np.arange(int(seconds * rate)) / 9)).astype(np.int16)


def frames_of(expected: AudioFormat | None, *pieces: Any) -> list[Frame]:
    body = AudioBody(expected)
    return [frame for piece in pieces for frame in body.feed(piece)] + body.end()


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    places = sorted(place % (len(whole) + 1) for place in places)
    return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]


def wav(
    fmt: bytes, audio: bytes, *, size: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    head = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    data = b"data" + struct.pack("<I", len(audio) if size is None else size) + audio
    return b"RIFF\xff\xff\xff\xffWAVE" + head + before + data + after


def fmt(tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16) -> bytes:
    align = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)


@given(st.lists(st.integers(0, 100_000), max_size=12), st.integers(0, 12_000))
def test_wherever_the_bytes_are_cut_the_samples_are_the_same(
    places: list[int], samples: int
) -> None:
    whole = L16_24K.encode(tone(samples / 24000, 24000))
    frames = frames_of(L16_24K, *cut(whole, places))
    assert b"".join(frame.payload for frame in frames) == whole
    assert all(len(frame.payload) % 2 == 0 for frame in frames)
    assert all(frame.seconds <= 0.1 for frame in frames)
    assert all(frame.seconds >= 0.02 for frame in frames[:-1])


@given(
    st.lists(st.integers(0, 100_000), max_size=12),
    st.sampled_from([8000, 16000, 22050, 24000, 44100, 48000]),
)
@example([1, 2, 3, 43, 44, 45], 16000)
def test_a_wav_is_played_at_its_own_rate_wherever_it_is_cut(places: list[int], rate: int) -> None:
    samples = tone(0.15, rate)
    frames = frames_of(L16_24K, *cut(encode_wav(samples, rate), places))
    assert {frame.format for frame in frames} == {AudioFormat("l16", rate)}
    assert np.array_equal(np.concatenate([frame.samples for frame in frames]), samples)


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=3))
def test_any_bytes_are_frames_or_an_audio_error(data: bytes, places: list[int]) -> None:
    try:
        frames = frames_of(MULAW_8K, *cut(data, places))
    except AudioError:
        return
    assert b"".join(frame.payload for frame in frames) == data


@given(st.binary(max_size=120), st.lists(st.integers(0, 300), max_size=3))
def test_any_bytes_after_a_riff_header_are_frames_or_an_audio_error(
    data: bytes, places: list[int]
) -> None:
    try:
        frames_of(None, *cut(b"RIFF\0\0\0\0WAVE" + data, places))
    except AudioError:
        pass


def verdict(expected: AudioFormat | None, pieces: list[bytes]) -> tuple[Any, ...]:
    try:
        frames = frames_of(expected, *pieces)
    except AudioError as error:
        return ("refused", str(error))
    return ({frame.format for frame in frames}, b"".join(frame.payload for frame in frames))


BODIES = [
    b"upstream_timeout: no healthy backend, please retry in a moment or two, thank you",
    b"Unauthorized",
    b"\xef\xbb\xbf" + b'{"error": {"message": "no such voice"}}' * 3,
    "Kein Guthaben für diese Stimme: ungültig, bitte später noch einmal".encode(),
    b"\r\n\r\n<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>",
    b"service-unavailable-because-the-backend-could-not-be-reached-just-now",
    b"\x1f\x8b\x08" + bytes(300),
    b"\0\0\0\x20ftypM4A " + bytes(300),
    b"\xff\xfb\x90\x44" + bytes(413) + b"\xff\xfb\x90\x44" + bytes(413),
    b"\xff\xfb\x90\x44" + bytes(2000),
    wav(fmt(), bytes(800)),
    wav(fmt(), bytes(800))[:30],
    wav(fmt(channels=2), bytes(800)),
    b"RIFF\0\0",
    b"~}|{zyxw" * 30,
    MULAW_8K.encode(tone(0.1, 8000)),
    L16_24K.encode(tone(0.1, 24000)),
]


@given(
    st.sampled_from(BODIES) | st.binary(max_size=300),
    st.sampled_from([None, MULAW_8K, L16_24K]),
    st.lists(st.integers(0, 900), max_size=8),
)
@example(BODIES[0], MULAW_8K, [14, 28, 42, 56, 70])
@example(BODIES[0], MULAW_8K, list(range(81)))
def test_wherever_a_body_is_cut_the_verdict_is_the_same(
    whole: bytes, expected: AudioFormat | None, places: list[int]
) -> None:
    assert verdict(expected, cut(whole, places)) == verdict(expected, [whole])


@pytest.mark.parametrize("whole", BODIES[:6])
@pytest.mark.parametrize("expected", [None, MULAW_8K, L16_24K])
def test_text_is_never_played(whole: bytes, expected: AudioFormat | None) -> None:
    outcome, said = verdict(expected, [whole])
    assert outcome == "refused"
    assert "text came instead" in said


def test_a_frame_comes_as_soon_as_there_are_20_ms() -> None:
    body = AudioBody(MULAW_8K)
    assert body.feed(bytes(159)) == []
    assert [frame.seconds for frame in body.feed(bytes(1))] == [0.02]


def test_an_odd_byte_at_the_end_is_dropped() -> None:
    assert [len(frame.payload) for frame in frames_of(L16_24K, bytes(4801))] == [4800]


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_that_does_not_know_its_size_plays_to_the_end(size: int) -> None:
    (frame,) = frames_of(None, wav(fmt(), bytes(800), size=size))
    assert len(frame.payload) == 800


def test_chunks_around_the_audio_are_not_played() -> None:
    info = b"LIST" + struct.pack("<I", 5) + b"noise\0"
    frames = frames_of(None, wav(fmt(), bytes(800), before=info, after=info), b"more noise")
    assert [frame.payload for frame in frames] == [bytes(800)]


def test_a_wav_that_is_shorter_than_it_says_plays_what_there_is() -> None:
    (frame,) = frames_of(None, wav(fmt(), bytes(800), size=4000))
    assert len(frame.payload) == 800


@pytest.mark.parametrize(("tag", "encoding"), [(6, "alaw"), (7, "mulaw")])
def test_g711_in_a_wav_is_played_as_it_is(tag: int, encoding: Any) -> None:
    (frame,) = frames_of(L16_24K, wav(fmt(tag, bits=8), b"\x55" * 400))
    assert frame.format == AudioFormat(encoding, 8000)
    assert frame.payload == b"\x55" * 400


def test_an_extensible_wav_says_its_format_later() -> None:
    extensible = fmt(0xFFFE, rate=16000) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    (frame,) = frames_of(None, wav(extensible, bytes(640)))
    assert frame.format == AudioFormat("l16", 16000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (wav(fmt(channels=2), bytes(800)), "2 channels"),
        (wav(fmt(3, bits=32), bytes(800)), "format 3 with 32 bits"),
        (wav(fmt(rate=4000), bytes(800)), "4000"),
        (wav(b"\1\0", bytes(800)), "a WAV format of 2 bytes"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0" + bytes(99), "before its format"),
        (b"RIFF\0\0\0\0WAVEfmt ", "ends before its audio"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\x00" + bytes(9), "without audio in its first"),
        (b"RIFF\0\0\0\0AVI " + bytes(99), "not a WAV"),
        (b'{"error": "no voice"}', "text came.*no voice"),
        (b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>", "text came"),
        (b"ID3\x04" + bytes(99), "MP3 came"),
        (b"OggS" + bytes(99), "Ogg came"),
        (b"fLaC" + bytes(99), "FLAC came"),
        (b"RIFX" + bytes(99), "WAV with the most significant byte first came"),
        (b"riff\x2e\x91" + bytes(99), "W64 came"),
        (b"caff\0\1" + bytes(99), "CAF came"),
        (b"\xff\xfb\x90\x44" + bytes(413) + b"\xff\xfb\x90\x44" + bytes(413), "MP3 came"),
        (b"\xff\xf3\x84\xc4" + bytes(188) + b"\xff\xf3\x84\xc4" + bytes(188), "MP3 came"),
        (b"\xff\xfb\x90\x44" + bytes(99), "MP3 came"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_is_no_such_audio_is_found_out_before_it_is_played(
    data: bytes, reason: str, size: int
) -> None:
    body = AudioBody(L16_24K)
    with pytest.raises(AudioError, match=reason):  # noqa: PT012
        for start in range(0, len(data), size):
            assert body.feed(data[start : start + size]) == []
        body.end()


@pytest.mark.parametrize("quiet", [b"~" * 200, b"~}|{zyxw" * 30])
def test_quiet_mulaw_that_could_be_read_as_text_is_played(quiet: bytes) -> None:
    assert b"".join(frame.payload for frame in frames_of(MULAW_8K, quiet)) == quiet


def test_samples_that_begin_like_an_mp3_are_played() -> None:
    audio = b"\xff\xfb\x90\x44" + bytes(2000)
    assert b"".join(frame.payload for frame in frames_of(L16_24K, audio)) == audio


@pytest.mark.parametrize("start", [b"\xff\xfb\x00\x00", b"\xff\xeb\x90\x00", b"\xff\xfb\x9c\x00"])
def test_a_header_that_no_mp3_has_is_no_mp3(start: bytes) -> None:
    assert frames_of(L16_24K, start + bytes(96))[0].payload[:4] == start


def test_a_wav_that_was_asked_for_must_be_one() -> None:
    with pytest.raises(AudioError, match="does not begin with a WAV header"):
        frames_of(None, bytes(99))


def test_nothing_is_no_frames() -> None:
    assert frames_of(None, b"") == []
