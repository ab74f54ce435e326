from collections.abc import Callable
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError, Text
from mediaserver.agents.services.openai.azure import AzureResource
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.client import OpenAIClient
from mediaserver.agents.services.openai.realtime import OpenAIRealtime
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.agents.services.openai.transcription import OpenAITranscription
from mediaserver.call import Frame
from mediaserver.testing.openai import AzureGate, HttpReply, OpenAIServer
from mediaserver.testing.openai.realtime import OpenAIRealtimeServer


GATE = AzureGate(deployments=["my-mind", "my-ears", "my-voice"])
HELLO = [Text("user", "hello")]
VERSION = "2024-10-21"


@pytest.fixture(autouse=True)
def no_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "API_KEY", "AD_TOKEN"):
        monkeypatch.delenv(f"AZURE_OPENAI_{name}", raising=False)
    monkeypatch.delenv("OPENAI_API_VERSION", raising=False)


async def answer(model: OpenAIChat) -> str:
    return "".join([piece async for piece in model.respond(HELLO, []) if isinstance(piece, str)])


async def spoken() -> Any:
    yield Frame(MULAW_8K.silence * 4000, MULAW_8K)


async def use_all(azure: AzureResource) -> None:
    """Have a model answer, a voice speak and a recogniser hear."""
    mind = OpenAIChat("my-mind", azure=azure, max_retries=0)
    ears = OpenAITranscription("my-ears", azure=azure, max_retries=0)
    voice = OpenAISpeech(model="my-voice", azure=azure, max_retries=0)
    try:
        assert await answer(mind) == "Good morning. How can I help?"
        assert [each.text async for each in ears.transcribe(spoken())] == ["Good morning."]
        assert [frame async for frame in voice.speak("Hello.", MULAW_8K)]
        for service in (mind, ears, voice):
            await service.check()
            assert service.provider == "azure.ai.openai"
    finally:
        for service in (mind, ears, voice):
            await service.close()


async def token_of_a_coroutine() -> str:
    return GATE.token


PARTS = ("chat/completions", "audio/transcriptions", "audio/speech")
CREDENTIALS = [
    {"api_key": GATE.api_key},
    {"azure_ad_token": GATE.token},
    {"azure_ad_token_provider": lambda: GATE.token},
    {"azure_ad_token_provider": token_of_a_coroutine},
    {"azure_ad_token_provider": lambda: token_of_a_coroutine()},
]


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_every_service_goes_through_the_v1_api(credential: dict[str, Any]) -> None:
    async with OpenAIServer(azure=GATE) as server:
        await use_all(AzureResource(server.base_url, **credential))
    assert server.paths[:3] == [f"/openai/v1/{part}" for part in PARTS]
    assert set(server.paths[3:]) == {"/openai/v1/models"}
    assert server.refused == []
    (request,) = server.chat.received
    sent = {name: request.headers.get(name) for name in ("api-key", "authorization")}
    if "api_key" in credential:
        assert sent == {"api-key": GATE.api_key, "authorization": None}
    else:
        assert sent == {"api-key": None, "authorization": f"Bearer {GATE.token}"}


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_every_service_goes_through_a_dated_version(credential: dict[str, Any]) -> None:
    async with OpenAIServer(azure=GATE) as server:
        await use_all(AzureResource(f"{server.base_url}/", api_version=VERSION, **credential))
    assert server.paths[:3] == [
        f"/openai/deployments/{name}/{part}?api-version={VERSION}"
        for name, part in zip(("my-mind", "my-ears", "my-voice"), PARTS, strict=True)
    ]
    assert set(server.paths[3:]) == {f"/openai/models?api-version={VERSION}"}
    assert server.refused == []


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_realtime_model_is_reached_whatever_version_the_others_have(
    credential: dict[str, Any],
) -> None:
    server = OpenAIRealtimeServer(azure=AzureGate(deployments=["my-mind"]))
    async with server.running():
        azure = AzureResource(server.base_url, api_version=VERSION, **credential)
        model = OpenAIRealtime(model="my-mind", transcription=None, azure=azure)
        await model.check()
        session = await model.connect(prompt="", tools=(), format=MULAW_8K)
        await session.close()
        await model.close()
        other = OpenAIRealtime(model="your-mind", azure=azure)
        with pytest.raises(ServiceError, match="refused with 404: The API deployment") as raised:
            await other.connect(prompt="", tools=(), format=MULAW_8K)
        assert raised.value.status == 404
        await other.close()
    assert server.paths == ["/openai/v1/realtime?model=my-mind"]


async def test_everything_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with OpenAIServer(azure=GATE) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.base_url)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", GATE.api_key)
        await use_all(AzureResource())
        monkeypatch.setenv("OPENAI_API_VERSION", VERSION)
        await use_all(AzureResource())
        # As in the package, a token goes before a key.
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "wrong")
        monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", GATE.token)
        await use_all(AzureResource(api_version="v1"))
    assert [path for path in server.paths if "chat" in path] == [
        "/openai/v1/chat/completions",
        f"/openai/deployments/my-mind/chat/completions?api-version={VERSION}",
        "/openai/v1/chat/completions",
    ]


async def test_a_key_that_is_given_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "another")
    async with OpenAIServer(azure=GATE) as server:
        await use_all(AzureResource(server.base_url, api_key=GATE.api_key))


@pytest.mark.parametrize("version", [None, VERSION])
async def test_a_wrong_key_and_an_unknown_deployment_are_told(version: str | None) -> None:
    async with OpenAIServer(azure=GATE) as server:
        wrong = AzureResource(server.base_url, api_key="wr0ng", api_version=version)
        model = OpenAIChat("my-mind", azure=wrong, max_retries=0)
        with pytest.raises(ServiceError, match="rejects the key; check it, and the endpoint: Acc"):
            await answer(model)
        with pytest.raises(MisconfiguredServiceError, match=r"401: .*/openai"):
            await model.check()
        await model.close()
        right = AzureResource(server.base_url, api_key=GATE.api_key, api_version=version)
        model = OpenAIChat("your-mind", azure=right, max_retries=0)
        with pytest.raises(ServiceError, match=r"404: .* has no deployment 'your-mind': The API"):
            await answer(model)
        await model.close()


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        (lambda: 1 / 0, "azure_ad_token_provider failed: ZeroDivisionError: division by zero"),
        (lambda: "", "azure_ad_token_provider returned no token, but an empty text"),
        (lambda: None, "azure_ad_token_provider returned no token, but NoneType"),
    ],
)
async def test_a_provider_that_fails_is_a_service_that_fails(
    provider: Callable[[], Any], reason: str
) -> None:
    async with OpenAIServer(azure=GATE) as server:
        for version in (None, VERSION):
            azure = AzureResource(
                server.base_url, azure_ad_token_provider=provider, api_version=version
            )
            model = OpenAIChat("my-mind", azure=azure)
            with pytest.raises(ServiceError, match=f"openai_chat: {reason}"):
                await answer(model)
            await model.close()


async def test_the_key_is_not_taken_to_another_host() -> None:
    async with OpenAIServer() as other, OpenAIServer(azure=GATE) as server:
        moved = HttpReply([b""], status=307, headers={"location": f"{other.base_url}/models"})
        server.chat.answer = moved
        for version in (None, VERSION):
            azure = AzureResource(server.base_url, api_key=GATE.api_key, api_version=version)
            model = OpenAIChat("my-mind", azure=azure, max_retries=0)
            with pytest.raises(ServiceError, match="307"):
                await answer(model)
            await model.close()
    assert other.paths == []


async def test_what_is_missing_is_told_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = OpenAIClient("test", azure=AzureResource())
    await client.prewarm()
    with pytest.raises(MisconfiguredServiceError, match="no Azure endpoint: set AZURE_OPENAI_ENDP"):
        client.get()
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://my-resource.openai.azure.com")
    await client.prewarm()
    with pytest.raises(
        MisconfiguredServiceError, match=r"no key for https://my-resource\.openai.*set AZURE_OPENA"
    ):
        client.get()
    monkeypatch.setenv("OPENAI_API_VERSION", "latest")
    with pytest.raises(MisconfiguredServiceError, match="an API version is 'v1' or looks like"):
        client.get()
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "my-resource")
    with pytest.raises(MisconfiguredServiceError, match="an Azure endpoint looks like"):
        client.get()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"azure_endpoint": "my-resource.openai.azure.com"}, "an Azure endpoint looks like"),
        ({"azure_endpoint": "https://x.azure.com/openai/v1"}, "leave out '/openai/v1'"),
        ({"api_version": "2024"}, "an API version is 'v1' or looks like .* not '2024'"),
        ({"api_key": "k", "azure_ad_token": "t"}, "give one of api_key, azure_ad_token and"),
    ],
)
def test_values_that_cannot_be_are_refused_at_once(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AzureResource(**settings)  # type: ignore[arg-type]


def test_a_resource_does_not_show_its_key() -> None:
    assert "s3cret" not in repr(AzureResource(api_key="s3cret"))
    assert AzureResource(azure_ad_token="s3cret").secret() == "s3cret"
    assert AzureResource().secret() is None
