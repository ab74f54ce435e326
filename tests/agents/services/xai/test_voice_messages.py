"""The messages of xAI's voices."""

import json
from base64 import b64encode
from typing import Any

import pytest

from mediaserver.agents.services.context_session import ContextSpeech
from mediaserver.agents.services.xai.voice_messages import LONGEST_DELTA, XAIVoiceMessages


DONE = {"type": "text.done"}


@pytest.fixture
def messages() -> XAIVoiceMessages:
    made = XAIVoiceMessages({})
    assert made.begin("a") == []
    return made


def delta(text: str) -> dict[str, str]:
    return {"type": "text.delta", "delta": text}


def decoded(sent: Any) -> list[dict[str, Any]]:
    return [json.loads(message) for message in sent]


def read(messages: XAIVoiceMessages, kind: str, **fields: Any) -> ContextSpeech | None:
    return messages.read(json.dumps({"type": kind, **fields}))


def test_an_utterance_is_its_text_and_its_end(messages: XAIVoiceMessages) -> None:
    assert decoded(messages.text("a", "Good ")) == [delta("Good ")]
    assert decoded(messages.text("a", "morning.")) == [delta("morning.")]
    assert decoded(messages.end("a")) == [DONE]
    assert messages.keep_alive(["a"]) == []


def test_a_long_text_is_several_messages(messages: XAIVoiceMessages) -> None:
    text = "ab" * LONGEST_DELTA
    assert [len(each["delta"]) for each in decoded(messages.text("a", text))] == [LONGEST_DELTA] * 2


def test_replacements_are_told_once_before_the_first_text() -> None:
    messages = XAIVoiceMessages({"Plivo": "Pleevo"})
    assert decoded(messages.begin("a")) == [
        {"type": "session.update", "replace": {"Plivo": "Pleevo"}}
    ]
    assert messages.begin("b") == []
    assert read(messages, "session.updated", replace={"Plivo": "Pleevo"}) is None


def test_text_is_held_until_the_utterance_before_it_is_spoken(messages: XAIVoiceMessages) -> None:
    messages.text("a", "One. ")
    assert decoded(messages.flush("a")) == [DONE]
    assert messages.text("a", "Two. ") == []
    assert messages.flush("a") == []
    assert messages.text("a", "Thr") == []

    spoken = read(messages, "audio.done", trace_id="1")
    assert spoken is not None
    assert (spoken.restarts, spoken.done) == (True, False)
    assert decoded(spoken.replies) == [delta("Two. "), DONE]

    spoken = read(messages, "audio.done")
    assert spoken is not None
    assert decoded(spoken.replies) == [delta("Thr")]
    assert decoded(messages.text("a", "ee.")) == [delta("ee.")]
    assert decoded(messages.end("a")) == [DONE]
    assert read(messages, "audio.done") == ContextSpeech("a", done=True)


def test_a_flush_without_any_text_is_no_message(messages: XAIVoiceMessages) -> None:
    assert messages.flush("a") == []
    messages.text("a", "One.")
    assert decoded(messages.flush("a")) == [DONE]
    assert messages.flush("a") == []
    assert read(messages, "audio.done") == ContextSpeech("a", done=True)


def test_nothing_of_a_cancelled_utterance_is_taken(messages: XAIVoiceMessages) -> None:
    messages.text("a", "One. ")
    messages.flush("a")
    messages.text("a", "Two.")
    assert decoded(messages.cancel("a", ended=False)) == [{"type": "text.clear"}]
    assert read(messages, "audio.delta", delta="/w==") is None
    assert read(messages, "audio.done") is None
    assert read(messages, "audio.clear") == ContextSpeech("a", done=True)

    messages.begin("b")
    assert decoded(messages.text("b", "Sorry.")) == [delta("Sorry.")]
    assert read(messages, "audio.clear") is None
    assert read(messages, "audio.delta", delta="/w==") == ContextSpeech("b", audio=b"\xff")


def test_the_times_of_characters_become_those_of_words(messages: XAIVoiceMessages) -> None:
    def speech(chars: str, start: float) -> ContextSpeech | None:
        times = [[start + index / 10, start + (index + 1) / 10] for index in range(len(chars))]
        return read(
            messages,
            "audio.delta",
            delta=b64encode(b"\xff").decode(),
            audio_timestamps={"graph_chars": list(chars), "graph_times": times},
            audio_duration=0.1,
        )

    first = speech("Hi, y", 0.0)
    assert first is not None
    assert first.words == [("Hi,", pytest.approx(0.3)), ("y", pytest.approx(0.5))]
    second = speech("ou two", 0.5)
    assert second is not None
    assert second.words == [("ou", pytest.approx(0.7)), ("two", pytest.approx(1.1))]


@pytest.mark.parametrize(
    ("fields", "reason"), [({"message": "too fast"}, "too fast"), ({}, "no reason was given")]
)
def test_an_error_is_one_of_the_connection(
    messages: XAIVoiceMessages, fields: dict[str, str], reason: str
) -> None:
    assert read(messages, "error", **fields) == ContextSpeech(None, error=reason)


def test_an_unknown_message_is_passed_over(messages: XAIVoiceMessages) -> None:
    assert read(messages, "to.come", some="field") is None


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "{}",
        '{"type": "audio.delta", "delta": "?"}',
        '{"type": "audio.delta", "audio_timestamps": {"graph_chars": ["a"], "graph_times": []}}',
    ],
)
def test_what_cannot_be_read_is_an_error(messages: XAIVoiceMessages, message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        messages.read(message)
