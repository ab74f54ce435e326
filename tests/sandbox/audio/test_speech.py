import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.sandbox.audio.speech import AUDIBLE_PEAK, SpeechDetector, Spells


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K, L16_24K])
@pytest.mark.parametrize(
    ("amplitude", "audible"), [(0, False), (100, False), (AUDIBLE_PEAK * 2, True), (20_000, True)]
)
def test_a_tone_is_audible_when_loud_enough(
    format: AudioFormat, amplitude: int, audible: bool
) -> None:
    tone = (amplitude * np.sin(np.arange(format.rate // 10) * 0.5)).astype(np.int16)
    payload = format.encode(tone)
    expected = [(0, len(payload))] if audible else []
    assert list(SpeechDetector(format).spans(payload)) == expected


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K])
def test_a_click_is_not_audible(format: AudioFormat) -> None:
    samples = np.zeros(format.rate // 50, np.int16)
    samples[10] = 30_000
    assert list(SpeechDetector(format).spans(format.encode(samples))) == []


def test_spans_are_whole_slices_in_order() -> None:
    quiet, loud = MULAW_8K.silence * 160, b"\x00" * 160
    payload = quiet + loud * 2 + quiet + loud[:80]
    assert list(SpeechDetector(MULAW_8K).spans(payload)) == [(160, 480), (640, 720)]


@given(samples=st.lists(st.integers(-32768, 32767), max_size=400))
def test_both_encodings_agree_where_mulaw_keeps_the_level(samples: list[int]) -> None:
    exact = MULAW_8K.decode(MULAW_8K.encode(np.array(samples, np.int16)))
    by_code = list(SpeechDetector(MULAW_8K).spans(MULAW_8K.encode(exact)))
    by_level = list(SpeechDetector(L16_8K).spans(L16_8K.encode(exact)))
    assert [(2 * start, 2 * end) for start, end in by_code] == by_level


def test_neighbours_closer_than_the_pause_are_one_spell() -> None:
    spells = Spells(pause=100)
    spells.add(0, 50)
    spells.add(149, 200)
    spells.add(300, 400)
    assert spells.spells == [(0, 200), (300, 400)]


def test_a_break_parts_neighbours() -> None:
    spells = Spells(pause=100)
    spells.break_off()
    spells.add(0, 50)
    spells.break_off()
    spells.add(50, 60)
    spells.add(60, 70)
    assert spells.spells == [(0, 50), (50, 70)]
