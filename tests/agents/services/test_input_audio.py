import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_16K, L16_24K, MULAW_8K
from mediaserver.agents.services.input_audio import InputAudio
from mediaserver.call import Frame


def speech(seconds: float) -> Frame:
    return Frame(b"\x12" * round(seconds * 8000), MULAW_8K)


@pytest.mark.parametrize(("live", "seconds"), [(False, 0.1), (True, 0.02)])
def test_a_message_is_full_sooner_where_the_api_listens(live: bool, seconds: float) -> None:
    audio = InputAudio(MULAW_8K, MULAW_8K, live=live)
    assert not audio.add(speech(seconds - 0.01))
    assert audio.add(speech(0.01))
    assert audio.take() == b"\x12" * round(seconds * 8000)


@given(st.lists(st.integers(1, 400), max_size=8))
def test_no_turn_is_shorter_than_the_api_takes_and_none_loses_a_byte(sizes: list[int]) -> None:
    audio = InputAudio(MULAW_8K, MULAW_8K, live=False, shortest=0.1)
    sent = b""
    for size in sizes:
        if audio.add(speech(size / 8000)):
            sent += audio.take()
    assert audio.in_turn is bool(sizes)
    sent += audio.end_turn()
    assert sent == (b"\x12" * sum(sizes)).ljust(800, MULAW_8K.silence)
    assert not audio.in_turn


def test_linear_samples_are_resampled_and_each_turn_begins_anew() -> None:
    audio = InputAudio(L16_16K, L16_24K, live=False)
    samples = (5000 * np.sin(np.arange(3200) * 0.2)).astype(np.int16)
    turns = []
    for _ in range(2):
        audio.add(Frame(L16_16K.encode(samples), L16_16K))
        turns.append(audio.end_turn())
    assert turns[0] == turns[1]
    assert len(turns[0]) == pytest.approx(4800 * 2, abs=100)
