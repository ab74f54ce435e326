import numpy as np
import pytest

from audiocodecs import MULAW_8K
from mediaserver.testing.openai.realtime import CallTool, RealtimeAnswer


def test_an_answer_hums_for_each_word() -> None:
    answer = RealtimeAnswer(text="Hello there.")
    assert answer.words == ["Hello ", "there."]
    assert len(answer.sound(MULAW_8K)) == round(0.6 * 8000)


def test_an_answer_may_have_its_own_sound() -> None:
    samples = np.full(80, 1000, np.int16)
    assert RealtimeAnswer(samples=samples).sound(MULAW_8K) == MULAW_8K.encode(samples)


@pytest.mark.parametrize(
    ("answer", "speaks"),
    [
        (RealtimeAnswer(), False),
        (RealtimeAnswer(calls=[CallTool("look")]), False),
        (RealtimeAnswer(text="Hi."), True),
        (RealtimeAnswer(wait_at=0), True),
    ],
)
def test_an_answer_speaks_if_it_has_words_or_sound_or_stalls(
    answer: RealtimeAnswer, speaks: bool
) -> None:
    assert answer.speaks is speaks
