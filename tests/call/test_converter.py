import array
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
    mulaw_encode,
)
from mediaserver.call import Converter, Frame


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


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="3 bytes are not whole samples of audio/x-l16;"):
        converted(Converter(L16_16K), b"\0\0\0")


def test_half_a_sample_of_another_format_is_refused() -> None:
    with pytest.raises(AudioError):
        converted(Converter(MULAW_8K), b"\0\0\0", format=L16_16K)


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
        (bytes(48_001), None, L16_24K),
    ],
)
def test_more_than_a_second_is_a_clip(
    audio: Samples | bytes, rate: int | None, format: AudioFormat | None
) -> None:
    converter = Converter(MULAW_8K)
    assert converter.is_clip(audio, rate, format)
    assert not converter.is_clip(audio[:-1], rate, format)


def test_a_received_frame_is_no_clip() -> None:
    assert not Converter(MULAW_8K).is_clip(Frame(bytes(9_000), MULAW_8K), None, None)
