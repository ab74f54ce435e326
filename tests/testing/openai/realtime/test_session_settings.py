import pytest

from audiocodecs import L16_24K, MULAW_8K
from mediaserver.testing.openai.realtime.client_events import JsonDict, RealtimeRefusal
from mediaserver.testing.openai.realtime.session_settings import SessionSettings


def output(**settings: object) -> JsonDict:
    return {"audio": {"output": settings}}


def test_changes_are_merged_into_what_is_there() -> None:
    settings = SessionSettings()
    settings.change(output(voice="marin"), spoke=False)
    settings.change(output(format={"type": "audio/pcmu"}), spoke=False)
    assert settings.values["audio"]["output"] == {
        "voice": "marin",
        "format": {"type": "audio/pcmu"},
    }


def test_audio_is_pcm_at_24_khz_until_it_is_set() -> None:
    settings = SessionSettings()
    assert settings.wire("input") is L16_24K
    assert settings.seconds(48_000) == 1.0
    settings.change({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, spoke=False)
    assert settings.wire("input") is MULAW_8K
    assert settings.seconds(8_000) == 1.0


def test_a_change_that_is_refused_changes_nothing() -> None:
    settings = SessionSettings()
    with pytest.raises(RealtimeRefusal, match="24000"):
        settings.change(output(format={"type": "audio/pcm", "rate": 8000}), spoke=False)
    assert settings.values == {"type": "realtime"}


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    settings = SessionSettings()
    settings.change(output(voice="marin"), spoke=False)
    with pytest.raises(RealtimeRefusal) as refused:
        settings.change(output(voice="cedar"), spoke=True)
    assert refused.value.code == "cannot_update_voice"
    settings.change({"instructions": "Be brief."}, spoke=True)
    assert settings.values["audio"]["output"]["voice"] == "marin"


@pytest.mark.parametrize(
    "tool", [{"name": "a b"}, {"name": "x" * 65}, {"name": "look", "parameters": {}}]
)
def test_a_tool_has_a_plain_name_and_an_object_of_parameters(tool: JsonDict) -> None:
    with pytest.raises(RealtimeRefusal, match="Invalid"):
        SessionSettings().change({"tools": [tool]}, spoke=False)


def test_the_server_takes_the_turns_unless_told_not_to() -> None:
    settings = SessionSettings()
    assert settings.turn_detection == {
        "silence_duration_ms": 500,
        "interrupt_response": True,
        "create_response": True,
    }
    settings.change({"audio": {"input": {"turn_detection": None}}}, spoke=False)
    assert settings.turn_detection is None
