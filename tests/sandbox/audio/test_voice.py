import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, MULAW_8K
from mediaserver.sandbox.audio.voice import CallerVoice


LOUD = b"\x00"
QUIET = MULAW_8K.silence


def test_a_caller_with_nothing_to_say_is_silent() -> None:
    assert CallerVoice(MULAW_8K).take(160) == QUIET * 160


def test_silence_is_the_same_object_every_time() -> None:
    voice = CallerVoice(MULAW_8K)
    assert voice.take(160) is voice.take(160)


def test_clips_follow_each_other_and_the_last_frame_is_filled_up() -> None:
    voice = CallerVoice(MULAW_8K)
    voice.say(b"\x01" * 100)
    voice.say(b"\x02" * 100)
    assert voice.take(160) == b"\x01" * 100 + b"\x02" * 60
    assert voice.speaking
    assert voice.take(160) == b"\x02" * 40 + QUIET * 120
    assert not voice.speaking


def test_a_clip_said_later_begins_with_the_next_frame() -> None:
    voice = CallerVoice(MULAW_8K)
    voice.take(160)
    voice.say(LOUD * 80)
    assert voice.ends == 0.03
    voice.take(160)
    voice.say(LOUD * 80)
    assert [start for start, _ in voice.said] == [160, 320]


def test_saying_nothing_changes_nothing() -> None:
    voice = CallerVoice(MULAW_8K)
    voice.say(b"")
    assert voice.said == []
    assert not voice.speaking


def test_half_a_second_of_silence_ends_an_utterance() -> None:
    voice = CallerVoice(MULAW_8K)
    voice.say(LOUD * 1600 + QUIET * 2400 + LOUD * 1600 + QUIET * 4800 + LOUD * 1600)
    assert voice.utterances == [(0.0, 0.7), (1.3, 1.5)]


def test_nothing_is_kept_without_keep_audio() -> None:
    voice = CallerVoice(MULAW_8K, keep_audio=False)
    voice.say(LOUD * 160)
    assert voice.said == []
    assert voice.utterances == [(0.0, 0.02)]


@given(st.lists(st.one_of(st.integers(1, 700).map(lambda n: ("say", n)), st.just(("take", 0)))))
def test_what_was_said_lies_where_it_was_sent(steps: list[tuple[str, int]]) -> None:
    voice = CallerVoice(L16_8K)
    sent = b""
    for number, (step, size) in enumerate([*steps, *[("take", 0)] * 200]):
        if step == "say":
            voice.say(np.full(size, 1 + number, "<i2").tobytes())
        else:
            sent += voice.take(320)
    laid_out = np.zeros(len(sent) // 2, np.int16)
    for start, samples in voice.said:
        end = min(start + len(samples), len(laid_out))
        laid_out[start:end] = samples[: end - start]
    np.testing.assert_array_equal(laid_out, np.frombuffer(sent, "<i2"))
