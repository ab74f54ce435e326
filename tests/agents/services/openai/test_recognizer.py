from typing import Any

import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.openai.azure import AzureResource
from mediaserver.agents.services.openai.recognizer import OpenAIRecognizer
from mediaserver.testing.openai import AzureGate
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer
from mediaserver.testing.socket_server import SocketFault


def recognizer(server: OpenAITranscriptionServer, *args: Any, **settings: Any) -> OpenAIRecognizer:
    where = {"base_url": server.base_url, "api_key": server.api_key}
    return OpenAIRecognizer(*args, **{**where, **settings})


async def configured(format: AudioFormat = MULAW_8K, *args: Any, **settings: Any) -> Any:
    """Return the settings with which a session was set up."""
    server = OpenAITranscriptionServer()
    async with server.running():
        service = recognizer(server, *args, **settings)
        await (await service.listen(format)).close()
        await service.close()
    assert server.refusals == []
    assert server.paths == ["/v1/realtime?intent=transcription"]
    (update,) = server.of_type("session.update")
    return update["session"]


async def test_a_session_transcribes_a_call_in_its_own_format() -> None:
    session = await configured()
    assert session == {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"model": "gpt-live-transcribe"},
                "turn_detection": None,
            }
        },
    }
    heard = (await configured(L16_16K))["audio"]["input"]
    assert heard["format"] == {"type": "audio/pcm", "rate": 24000}


async def test_settings_are_sent_as_the_api_names_them() -> None:
    session = await configured(
        MULAW_8K,
        languages=["en", "de"],
        keyterms=["Plivo"],
        prompt="A bicycle shop.",
        delay="low",
        noise_reduction="near_field",
        session={"audio": {"input": {"noise_reduction": {"strength": 0.5}}}},
    )
    heard = session["audio"]["input"]
    assert heard["noise_reduction"] == {"type": "near_field", "strength": 0.5}
    assert heard["transcription"] == {
        "model": "gpt-live-transcribe",
        "languages": ["en", "de"],
        "keywords": ["Plivo"],
        "prompt": "A bicycle shop.",
        "delay": "low",
    }


async def test_a_session_that_takes_turns_hears_everything() -> None:
    server = OpenAITranscriptionServer()
    async with server.running():
        turns = {"type": "semantic_vad", "eagerness": "high"}
        service = recognizer(server, "gpt-4o-transcribe", language="en", turn_detection=turns)
        session = await service.listen(MULAW_8K)
        assert session.takes_turns
        assert session.continuous
        assert session.expires_after == 3600
        await session.close()
        await service.close()
    (update,) = server.of_type("session.update")
    assert update["session"]["audio"]["input"]["turn_detection"] == turns


@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        ("gpt-live-transcribe", {"turn_detection": {"type": "server_vad"}}, "takes no turns"),
        ("gpt-realtime-whisper", {"turn_detection": {}}, "takes no turns"),
        ("gpt-realtime-whisper", {"prompt": "x"}, "prompt is for other models"),
        ("gpt-realtime-whisper", {"keyterms": ["x"]}, "keyterms is for gpt-live-transcribe and"),
        ("gpt-4o-transcribe", {"languages": ["en"]}, "languages is for"),
        ("gpt-transcribe", {"delay": "low"}, "delay is for gpt-live-transcribe and gpt-realtime"),
        ("gpt-live-transcribe", {"delay": "none"}, "delay must be one of minimal, low"),
        ("gpt-live-transcribe", {"noise_reduction": "near"}, "noise_reduction must be one of near"),
        ("gpt-live-transcribe", {"keyterms": "Plivo"}, "keyterms is a list of texts"),
        ("gpt-live-transcribe", {"language": "en us"}, "language must be a word"),
        ("gpt live", {}, "model must be a word"),
        ("any", {"azure": AzureResource(), "api_key": "k"}, "leave out base_url and api_key"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(
    model: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        OpenAIRecognizer(model, **settings)


def test_what_a_deployment_can_do_is_left_to_the_api() -> None:
    service = OpenAIRecognizer("my-ears", delay="low", keyterms=["a"], prompt="b")
    assert service.model == "my-ears"


async def test_a_misspelt_setting_is_refused() -> None:
    server = OpenAITranscriptionServer()
    async with server.running():
        service = recognizer(server, session={"audio": {"input": {"turn_detecton": None}}})
        with pytest.raises(ServiceError, match=r"Unknown parameter: '.*turn_detecton'"):
            await service.listen(MULAW_8K)
        await service.close()
    assert server.open == 0


async def test_a_model_that_takes_no_turns_is_refused_by_the_api() -> None:
    server = OpenAITranscriptionServer()
    async with server.running():
        session = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        service = recognizer(server, session=session)
        with pytest.raises(ServiceError, match="Turn detection is not supported"):
            await service.listen(MULAW_8K)
        await service.close()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    server = OpenAITranscriptionServer(faults=[SocketFault(delay=60.0)])
    async with server.running():
        service = recognizer(server, connect_timeout=0.5)
        with pytest.raises(ServiceError, match=r"no session within 0\.5 s"):
            await service.listen(MULAW_8K)
        await service.close()


async def test_it_listens_at_azure_where_the_model_is_a_deployment() -> None:
    gate = AzureGate(deployments=["my-ears"])
    server = OpenAITranscriptionServer(azure=gate)
    async with server.running():
        azure = AzureResource(server.base_url, api_key=gate.api_key, api_version="2024-10-21")
        service = OpenAIRecognizer("my-ears", azure=azure)
        await service.check()
        await (await service.listen(MULAW_8K)).close()
        assert server.paths == ["/openai/v1/realtime?intent=transcription"]
        assert service.provider == "azure.ai.openai"
        wrong = OpenAIRecognizer("your-ears", azure=azure)
        with pytest.raises(ServiceError, match="deployment for this resource does not exist"):
            await wrong.listen(MULAW_8K)
        for each in (service, wrong):
            await each.close()


async def test_a_key_that_is_missing_is_told_by_its_variable() -> None:
    service = OpenAIRecognizer()
    await service.prewarm()
    with pytest.raises(MisconfiguredServiceError, match="set OPENAI_API_KEY"):
        await service.listen(MULAW_8K)
