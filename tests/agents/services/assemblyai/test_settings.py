from typing import Any

import pytest

from mediaserver.agents.services.assemblyai.settings import (
    is_universal_3,
    live_settings,
    query_parameters,
)


UNIVERSAL_3 = "universal-3-5-pro"
STREAMING = "universal-streaming-english"


def test_settings_have_assemblyais_names_and_milliseconds() -> None:
    assert live_settings(
        STREAMING,
        {
            "keyterms": ("Plivo",),
            "min_turn_silence": 0.16,
            "max_turn_silence": 2.4,
            "end_of_turn_confidence_threshold": 0.7,
            "vad_threshold": 0.5,
        },
    ) == {
        "keyterms_prompt": ["Plivo"],
        "min_turn_silence": 160,
        "max_turn_silence": 2400,
        "end_of_turn_confidence_threshold": 0.7,
        "vad_threshold": 0.5,
    }
    assert live_settings(UNIVERSAL_3, {"agent_context": "Which day?", "prompt": "A clinic."}) == {
        "agent_context": "Which day?",
        "prompt": "A clinic.",
    }


def test_parameters_are_written_as_the_address_has_them() -> None:
    fields = {"a": "x y", "b": True, "c": 0.5, "d": 200, "e": ["é", "b"]}
    assert query_parameters(fields) == {
        "a": "x y",
        "b": "true",
        "c": "0.5",
        "d": "200",
        "e": '["é","b"]',
    }


def test_models_that_punctuate_by_themselves_are_known_by_their_names() -> None:
    assert [
        is_universal_3(each) for each in (UNIVERSAL_3, "u3-rt-pro", STREAMING, "whisper-rt")
    ] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (STREAMING, {"keyterms": "Plivo"}),
        (STREAMING, {"keyterms": ["a"] * 101}),
        (STREAMING, {"keyterms": ["a" * 51]}),
        (STREAMING, {"keyterms": [" "]}),
        (STREAMING, {"min_turn_silence": 160}),
        (STREAMING, {"min_turn_silence": 2, "max_turn_silence": 1}),
        (STREAMING, {"vad_threshold": 1.1}),
        (STREAMING, {"prompt": "A clinic."}),
        (UNIVERSAL_3, {"prompt": " "}),
        (UNIVERSAL_3, {"end_of_turn_confidence_threshold": 0.5}),
    ],
)
def test_a_setting_that_assemblyai_does_not_take_is_refused(model: str, settings: Any) -> None:
    with pytest.raises(ValueError, match=r"not|must"):
        live_settings(model, settings)


def test_a_setting_that_there_is_not_is_named() -> None:
    with pytest.raises(TypeError, match="there is no setting 'keyterm'; there are keyterms, min"):
        live_settings(UNIVERSAL_3, {"keyterm": ["Plivo"]})  # type: ignore[typeddict-unknown-key]
