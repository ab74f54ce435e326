import array
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiocodecs import (
    L16_8K,
    L16_16K,
    L16_24K,
    MULAW_8K,
    AudioError,
    AudioFormat,
    Resampler,
    Samples,
    Wav,
    mulaw_encode,
)
from mediaserver.call import Converter, Frame, check_audio


def tone(seconds: float = 0.5, rate: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def converted(converter: Converter, *audio: Any, **how: Any) -> bytes:
    return b"".join(bytes(piece) for piece in converter.convert(*audio, **how))


def test_a_frame_of_the_streams_format_goes_through_untouched() -> None:
    frame = Frame(b"\xff\x00\x7f", MULAW_8K)
    assert next(Converter(MULAW_8K).convert(frame)) is frame.payload


def test_bytes_are_of_the_streams_format_unless_told() -> None:
    audio = b"\xff\x00\x7f"
    assert next(Converter(MULAW_8K).convert(audio)) is audio


def test_bytes_said_to_be_of_the_streams_format_go_through() -> None:
    assert converted(Converter(L16_16K), b"\x01\x02", format=L16_16K) == b"\x01\x02"


def test_a_bytearray_may_be_changed_afterwards() -> None:
    audio = bytearray(b"\xff\xff")
    pieces = list(Converter(MULAW_8K).convert(audio))
    audio[:] = b"\0"
    assert pieces == [b"\xff\xff"]


def test_a_memoryview_of_wider_items_is_taken_by_its_bytes() -> None:
    samples = array.array("h", [1, 2, 3])
    assert converted(Converter(L16_16K), memoryview(samples)) == samples.tobytes()


def test_samples_are_at_the_streams_rate_unless_told() -> None:
    assert converted(Converter(MULAW_8K), tone()) == mulaw_encode(tone())


def test_samples_at_another_rate_are_resampled() -> None:
    samples = tone(rate=24000)
    expected = MULAW_8K.encode(Resampler(24000, 8000).process(samples))
    assert converted(Converter(MULAW_8K), samples, rate=24000) == expected


def test_bytes_of_another_format_are_decoded_and_resampled() -> None:
    samples = tone(rate=24000)
    expected = MULAW_8K.encode(Resampler(24000, 8000).process(samples))
    assert converted(Converter(MULAW_8K), L16_24K.encode(samples), format=L16_24K) == expected


def test_a_frame_of_another_format_is_converted() -> None:
    frame = Frame(L16_8K.encode(tone()), L16_8K)
    assert converted(Converter(MULAW_8K), frame) == mulaw_encode(tone())


def test_the_resampler_goes_on_between_pieces() -> None:
    samples = tone(rate=24000)
    converter = Converter(MULAW_8K)
    pieces = [
        converted(converter, samples[i : i + 1001], rate=24000) for i in range(0, 12000, 1001)
    ]
    assert b"".join(pieces) == converted(Converter(MULAW_8K), samples, rate=24000)


def test_another_rate_begins_a_new_resampler() -> None:
    converter = Converter(MULAW_8K)
    converted(converter, tone(rate=24000), rate=24000)
    assert converted(converter, tone(rate=16000), rate=16000) == converted(
        Converter(MULAW_8K), tone(rate=16000), rate=16000
    )


def test_flush_returns_what_the_resampler_held_back() -> None:
    converter = Converter(L16_8K)
    resampler = Resampler(24000, 8000)
    converted(converter, tone(rate=24000), rate=24000)
    resampler.process(tone(rate=24000))
    assert converter.flush() == L16_8K.encode(resampler.flush()) != b""


def test_flush_returns_nothing_where_nothing_was_resampled() -> None:
    converter = Converter(MULAW_8K)
    converted(converter, tone())
    assert bytes(converter.flush()) == b""


def test_flush_before_any_audio_returns_nothing() -> None:
    assert bytes(Converter(MULAW_8K).flush()) == b""


def test_reset_forgets_the_tail() -> None:
    converter = Converter(MULAW_8K)
    converted(converter, tone(rate=24000), rate=24000)
    converter.reset()
    assert converted(converter, np.zeros(480, np.int16), rate=24000) == b"\xff" * 160


def test_reset_before_any_audio_does_nothing() -> None:
    Converter(MULAW_8K).reset()


def test_long_audio_comes_in_steps_of_a_second() -> None:
    pieces = list(Converter(MULAW_8K).convert(np.zeros(20_000, np.int16)))
    assert [len(piece) for piece in pieces] == [8000, 8000, 4000]


def test_empty_audio_makes_nothing() -> None:
    assert converted(Converter(MULAW_8K), np.zeros(0, np.int16)) == b""


@pytest.mark.parametrize("format", [None, L16_16K, L16_24K, AudioFormat("l16", 11025)])
@given(cuts=st.lists(st.integers(0, 6000), max_size=8), odd=st.booleans())
def test_bytes_may_be_cut_within_a_sample(
    format: AudioFormat | None, cuts: list[int], odd: bool
) -> None:
    audio = L16_16K.encode(tone(0.2, 16000))
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    pieces = [audio[a:b] for a, b in itertools.pairwise(edges)] + [b"\x7f"] * odd
    cut, whole = Converter(L16_16K), Converter(L16_16K)
    parts = b"".join(converted(cut, piece, format=format) for piece in pieces)
    assert parts == converted(whole, audio, format=format)
    assert cut.waits == odd
    assert cut.flush() == whole.flush()
    assert not cut.waits


def test_frames_may_be_cut_within_a_sample() -> None:
    audio = L16_16K.encode(tone(0.2, 16000))
    pieces = [Frame(audio[i : i + 4063], L16_16K) for i in range(0, len(audio), 4063)]
    converter = Converter(MULAW_8K)
    parts = b"".join(converted(converter, piece) for piece in pieces)
    assert parts == converted(Converter(MULAW_8K), audio, format=L16_16K)


@pytest.mark.parametrize(("rate", "late"), [(11127, True), (96_000, True), (24_000, False)])
def test_only_what_would_be_missed_is_flushed_late(rate: int, late: bool) -> None:
    converter = Converter(MULAW_8K)
    assert converter.flush_late() == b""
    heard = converted(converter, tone(0.3, rate), rate=rate)
    rest = converter.flush_late()
    assert bool(rest) == late
    assert len(heard + rest) == pytest.approx(2400, abs=1)


def test_after_a_reset_half_a_sample_is_forgotten() -> None:
    converter = Converter(L16_16K)
    assert converted(converter, b"\1\2\3") == b"\1\2"
    converter.reset()
    assert converted(converter, b"\4\5") == b"\4\5"


def test_an_array_does_not_continue_bytes() -> None:
    converter = Converter(L16_16K)
    converted(converter, b"\1")
    converted(converter, np.zeros(1, np.int16))
    assert converted(converter, b"\4\5") == b"\4\5"


def test_bytes_that_end_within_a_sample_are_no_clip() -> None:
    converter = Converter(MULAW_8K)
    assert not converter.is_clip(bytes(48_003), None, L16_24K)
    converted(converter, b"\0", format=L16_24K)
    assert not converter.is_clip(bytes(48_002), None, L16_24K)


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 32000, 44100, 48000])
def test_a_wav_is_played_at_its_rate_with_its_channels_mixed(rate: int) -> None:
    samples = tone(0.5, rate)
    stereo = Wav(np.stack([samples, samples], axis=1), rate)
    expected = converted(Converter(MULAW_8K), samples, rate=rate)
    assert converted(Converter(MULAW_8K), stereo) == expected
    assert converted(Converter(MULAW_8K), Wav(samples, rate), rate=rate) == expected


def test_a_wav_of_more_than_a_second_is_a_clip() -> None:
    assert Converter(MULAW_8K).is_clip(Wav(tone(1.1, 16000), 16000), None, None)
    assert not Converter(MULAW_8K).is_clip(Wav(tone(1.0, 16000), 16000), None, None)


@pytest.mark.parametrize(
    ("audio", "how", "said"),
    [
        ("hello.wav", {}, "cannot play str: .*; read_wav reads a file, and a text_to_speech"),
        (Path("hello.wav"), {}, "cannot play .*Path: .*; read_wav reads a file$"),
        ([1, 2], {}, r"cannot play list: .*; np.array\(…, np.int16\)"),
        (
            np.zeros((24_000, 2), np.int16),
            {},
            r"shape \(24000, 2\); Wav.*\.mono\(\) mixes the channels$",
        ),
        (np.zeros(24_000), {}, r"float64 of shape \(24000,\); \(x \* 32767\)"),
        (np.zeros(0, np.float32), {}, "float32 of shape"),
        (np.zeros(8, np.int32), {}, r"int32 of shape \(8,\); astype"),
        (np.array(3, np.int16), {}, r"int16 of shape \(\)"),
        (np.zeros(8, np.int16), {"rate": "8000"}, "cannot resample at '8000' Hz"),
        (np.zeros(8, np.int16), {"format": L16_24K}, "is for bytes: give a numpy array its rate="),
        (b"\0\0", {"format": L16_24K, "rate": 8000}, "rate=8000 contradicts format=audio/x-l16"),
        (Wav(np.zeros(8, np.int16), 16000), {"rate": 8000}, "a rate of its own, here 16000"),
        (Wav(np.zeros(8, np.int16), 4000), {}, "cannot resample at 4000 Hz"),
        (Wav(np.zeros(8), 8000), {}, "float64 of shape"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_played_is_told_with_its_mend(
    audio: Any, how: dict[str, Any], said: str
) -> None:
    converter = Converter(MULAW_8K)
    with pytest.raises(AudioError, match=said):
        converted(converter, audio, **how)
    with pytest.raises(AudioError, match=said):
        check_audio(audio, **how)


@pytest.mark.parametrize(
    "audio", [None, "hello", 3, [1, 2], object()], ids=lambda audio: type(audio).__name__
)
def test_what_is_no_audio_is_refused(audio: object) -> None:
    with pytest.raises(AudioError, match=f"cannot play {type(audio).__name__}: give a Frame"):
        converted(Converter(MULAW_8K), audio)


@pytest.mark.parametrize(
    "audio", [np.zeros(80, np.float32), np.zeros((80, 2), np.int16)], ids=["float", "stereo"]
)
def test_arrays_of_another_kind_are_refused(audio: NDArray[np.float32] | Samples) -> None:
    with pytest.raises(AudioError):
        converted(Converter(MULAW_8K), audio)


@pytest.mark.parametrize("rate", [0, -8000, 11, 16000.5])
def test_a_rate_that_does_not_exist_is_refused(rate: float) -> None:
    with pytest.raises(AudioError, match=f"cannot resample at .*{rate}"):
        converted(Converter(MULAW_8K), tone(), rate=rate)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_with_a_rate_alone_are_refused(
    kind: type[bytearray] | type[bytes] | type[memoryview],
) -> None:
    """They are not what the stream speaks, and playing them as if they were is loud noise."""
    with pytest.raises(AudioError, match="by rate=24000 alone: give bytes a format="):
        converted(Converter(MULAW_8K), kind(L16_24K.encode(tone(rate=24000))), rate=24000)


@given(st.lists(st.integers(1, 3000), max_size=8), st.sampled_from([8000, 16000, 24000, 44100]))
def test_cutting_the_audio_does_not_change_it(cuts: list[int], rate: int) -> None:
    samples = tone(0.3, rate)
    whole, cut = Converter(MULAW_8K), Converter(MULAW_8K)
    pieces = np.split(samples, sorted(cut % len(samples) for cut in np.cumsum(cuts)))
    assert b"".join(converted(cut, piece, rate=rate) for piece in pieces) == converted(
        whole, samples, rate=rate
    )
    assert cut.flush() == whole.flush()


@pytest.mark.parametrize(
    ("audio", "rate", "format"),
    [
        (np.zeros(24_001, np.int16), 24_000, None),
        (np.zeros(8_001, np.int16), None, None),
        (bytes(8_001), None, None),
        (bytes(48_002), None, L16_24K),
    ],
)
def test_more_than_a_second_is_a_clip(
    audio: Samples | bytes, rate: int | None, format: AudioFormat | None
) -> None:
    converter = Converter(MULAW_8K)
    assert converter.is_clip(audio, rate, format)
    assert not converter.is_clip(audio[:-2], rate, format)


def test_a_received_frame_is_no_clip() -> None:
    assert not Converter(MULAW_8K).is_clip(Frame(bytes(9_000), MULAW_8K), None, None)
