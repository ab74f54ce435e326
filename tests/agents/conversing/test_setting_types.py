from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, cast

import pytest

from mediaserver.agents.conversing.setting_types import SettingType
from mediaserver.agents.services import RealtimeModel, Recognizer, SpeechToText, TextToSpeech
from mediaserver.agents.turns import TurnSettings
from mediaserver.testing.recognizer import ToneRecognizer
from mediaserver.testing.services import TimedSpeech, TimedTranscription


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "text"),
        (str | None, None),
        (float, 2),
        (int, 2),
        (bool, True),
        (Sequence[Callable[..., Any]], (print,)),
        (Sequence[Callable[..., Any]], [print]),
        (Mapping[str, str], {"desk": "https://example.com"}),
        (Callable[[], Any], print),
        (TurnSettings, TurnSettings()),
        (Literal["a", "b"], "b"),
        (TextToSpeech, TimedSpeech()),
    ],
)
def test_a_value_of_the_type_has_no_problem(annotation: Any, value: Any) -> None:
    assert SettingType(annotation).problem(value) is None


class Silent:
    async def speak(self, text: str, format: Any) -> None: ...


class Short:
    async def speak(self, text: str) -> AsyncIterator[None]:
        yield


class Undone(TextToSpeech): ...


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        (str, 3, "must be a valid string, not 3"),
        (str, None, "must be a valid string, not None"),
        (float, "2", "must be a valid number, not '2'"),
        (Mapping[str, str], {"desk": 3}, "['desk'] must be a valid string, not 3"),
        (TurnSettings, 0.6, "must be of the class TurnSettings, not 0.6"),
        (Literal["a", "b"], "c", "must be one of 'a', 'b', not 'c'"),
        (TextToSpeech, "alloy", "must be a TextToSpeech, with a method 'speak', not 'alloy'"),
        (TextToSpeech, cast(Any, Undone)(), "must be a TextToSpeech, with a method 'speak', not <"),
        (TextToSpeech, TimedSpeech, "must be an instance: write TimedSpeech(…), not TimedSpeech"),
        (TextToSpeech, Silent(), "must be a TextToSpeech: its 'speak' must `yield` what it makes"),
        (TextToSpeech, Short(), "its 'speak' must take (text, format), not (text: str)"),
        (RealtimeModel, TimedSpeech(), "must be a RealtimeModel, with a method 'connect'"),
    ],
)
def test_another_value_is_told(annotation: Any, value: Any, problem: str) -> None:
    assert problem in (SettingType(annotation).problem(value) or "")


NEITHER = (
    "must be a SpeechToText, with a method 'transcribe', or a Recognizer, with a method 'listen', "
    "not 3"
)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (TimedTranscription(), None),
        (ToneRecognizer(["one"]), None),
        (3, NEITHER),
        (ToneRecognizer, "must be an instance: write ToneRecognizer(…), not ToneRecognizer"),
    ],
)
def test_a_service_may_be_of_either_kind(value: object, problem: str | None) -> None:
    assert SettingType(SpeechToText | Recognizer).problem(value) == problem
