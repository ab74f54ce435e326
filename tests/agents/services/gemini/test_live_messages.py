import msgspec
import pytest

from mediaserver.agents.services import Text, ToolCall, ToolResult
from mediaserver.agents.services.gemini.live_messages import (
    ACTIVITY_END,
    ACTIVITY_START,
    STREAM_END,
    audio_message,
    live_setup,
    live_turns,
    note,
    results_message,
    text_message,
    turns_message,
    update_message,
)
from mediaserver.testing.gemini.schema import LiveClientMessage, read_closed


SETUP = live_setup(
    "any",
    "",
    [],
    voice="Puck",
    transcription=None,
    turn_detection={},
    further={"generationConfig": {"seed": 1}},
    handle="h",
    has_history=True,
)


@pytest.mark.parametrize(
    "message",
    [
        ACTIVITY_START,
        ACTIVITY_END,
        STREAM_END,
        SETUP,
        audio_message(b"\0\1"),
        text_message('"Quoted"'),
        turns_message([Text("user", "hello")]),
        results_message([("a", "look", {"output": "rain"})]),
        update_message("Be brief.", []),
    ],
)
def test_every_message_is_of_the_published_types(message: str) -> None:
    assert len(msgspec.to_builtins(read_closed(message, LiveClientMessage))) == 1


def test_a_resumed_session_names_its_handle_and_what_it_leaves_out() -> None:
    setup = read_closed(SETUP, LiveClientMessage).setup
    assert setup is not None
    assert setup.session_resumption is not None
    assert setup.session_resumption.handle == "h"
    assert setup.system_instruction is setup.input_audio_transcription is None
    assert not setup.realtime_input_config.automatic_activity_detection.disabled
    assert setup.generation_config.seed == 1


def test_turns_alternate_and_tools_are_notes() -> None:
    assert live_turns(
        [
            Text("system", "Be kind."),
            Text("user", "look"),
            ToolCall("a", "look", "{}"),
            Text("assistant", " "),
            ToolResult("a", "rain"),
            Text("assistant", "Rain."),
            ToolResult("b", "sun"),
        ]
    ) == [
        {
            "role": "user",
            "parts": [
                {"text": "(Be kind.)"},
                {"text": "look"},
                {"text": "(look has returned: rain)"},
            ],
        },
        {"role": "model", "parts": [{"text": "Rain."}]},
        {"role": "user", "parts": [{"text": "(A tool has returned: sun)"}]},
    ]


def test_a_note_is_no_word_of_the_callers() -> None:
    assert note(Text("user", "1")) == "1"
    assert note(Text("system", "The line is bad.")) == "(The line is bad.)"
