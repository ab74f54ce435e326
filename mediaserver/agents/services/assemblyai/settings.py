"""AssemblyAI's settings: what they are called there, and which values it takes.

https://www.assemblyai.com/docs/streaming/api-spec/streaming-websocket,
https://www.assemblyai.com/docs/streaming/turn-detection and
https://www.assemblyai.com/docs/streaming/keyterms-prompting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

from mediaserver.agents.services.setting_values import require_within


_KEYTERMS: Final = 100
_KEYTERM_LENGTH: Final = 50
_LONGEST_SILENCE: Final = 60.0
"""Seconds. AssemblyAI publishes no limit; a value of milliseconds is refused by this one."""


class AssemblyAILiveSettings(TypedDict, total=False):
    """Settings that can change while a session is open.

    Attributes:
        keyterms: names and terms that callers are likely to say: up to 100, of up to 50 characters.
        min_turn_silence: seconds of silence after which a turn that seems complete ends.
        max_turn_silence: seconds of silence that end a turn in any case.
        end_of_turn_confidence_threshold: how sure Universal-Streaming must be that a turn is over,
            from 0 to 1.
        vad_threshold: how sure it must be that a sound is speech, from 0 to 1.
        prompt: in words, what to expect of the audio; for Universal-3 models, as the next.
        agent_context: what the agent has said or asked last.

    """

    keyterms: Sequence[str]
    min_turn_silence: float
    max_turn_silence: float
    end_of_turn_confidence_threshold: float
    vad_threshold: float
    prompt: str
    agent_context: str


def is_universal_3(model: str) -> bool:
    """Return whether a model is one of the Universal-3 models, which punctuate by themselves."""
    return not model.startswith(("universal-streaming", "whisper"))


def live_settings(model: str, settings: AssemblyAILiveSettings) -> dict[str, object]:
    """Return settings by AssemblyAI's names, in milliseconds.

    Raises:
        TypeError: there is no such setting.
        ValueError: AssemblyAI does not take a value, or the model does not have the setting.

    """
    unknown = settings.keys() - AssemblyAILiveSettings.__annotations__.keys()
    if unknown:
        known = ", ".join(AssemblyAILiveSettings.__annotations__)
        raise TypeError(f"there is no setting {min(unknown)!r}; there are {known}")
    require_within(
        0,
        1,
        end_of_turn_confidence_threshold=settings.get("end_of_turn_confidence_threshold"),
        vad_threshold=settings.get("vad_threshold"),
    )
    shortest, longest = settings.get("min_turn_silence"), settings.get("max_turn_silence")
    require_within(0, _LONGEST_SILENCE, min_turn_silence=shortest, max_turn_silence=longest)
    if shortest is not None and longest is not None and shortest > longest:
        raise ValueError(
            f"min_turn_silence ({shortest:g}) must be at most max_turn_silence ({longest:g})"
        )
    for name in ("prompt", "agent_context"):
        text = settings.get(name)
        if text is not None and not (isinstance(text, str) and text.strip()):
            raise ValueError(f"{name} must be a text, not {text!r}")
        if text is not None and not is_universal_3(model):
            raise ValueError(f"{name} is for Universal-3 models, not for {model!r}")
    if "end_of_turn_confidence_threshold" in settings and is_universal_3(model):
        raise ValueError(
            "end_of_turn_confidence_threshold is for universal-streaming-english and"
            f" universal-streaming-multilingual, not for {model!r}"
        )
    fields: dict[str, object] = {}
    for name, value in settings.items():
        if name == "keyterms":
            fields["keyterms_prompt"] = _keyterms(value)
        elif name.endswith("_silence"):
            assert isinstance(value, int | float), "it was checked above"
            fields[name] = round(value * 1000)
        else:
            fields[name] = value
    return fields


def query_parameters(fields: Mapping[str, object]) -> dict[str, str]:
    """Return settings as the parameters of an address: lists go as JSON."""
    return {
        name: value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in fields.items()
    }


def _keyterms(terms: object) -> list[str]:
    listed = list(terms) if isinstance(terms, Sequence) and not isinstance(terms, str) else None
    if listed is None or len(listed) > _KEYTERMS or not all(map(_is_keyterm, listed)):
        raise ValueError(
            f"keyterms must be a list of up to {_KEYTERMS} texts of 1 to {_KEYTERM_LENGTH}"
            f" characters, not {terms!r}"
        )
    return listed


def _is_keyterm(term: object) -> bool:
    return isinstance(term, str) and bool(term.strip()) and len(term) <= _KEYTERM_LENGTH
