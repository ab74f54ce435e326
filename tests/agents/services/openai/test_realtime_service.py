import pytest
from structlog.testing import capture_logs

from mediaserver.agents.services import Checked, MisconfiguredServiceError, Prewarmed
from mediaserver.agents.services.openai.azure import AzureResource
from mediaserver.agents.services.openai.realtime_service import RealtimeService
from mediaserver.testing.openai import AzureGate, OpenAIServer


class Service(RealtimeService):
    service = "a_service"


async def test_a_missing_key_is_logged_when_it_gets_ready_and_told_when_it_is_checked() -> None:
    service = Service("any", {})
    assert isinstance(service, Prewarmed)
    assert isinstance(service, Checked)
    assert service.connect_timeout == 5.0
    with capture_logs() as logs:
        await service.prewarm()
    assert [(each["event"], each["service"]) for each in logs] == [("not prewarmed", "a_service")]
    with pytest.raises(MisconfiguredServiceError, match="a_service: no key"):
        await service.check()


async def test_the_server_and_the_time_limit_are_its_own() -> None:
    service = Service("any", {"base_url": "http://ears.internal/v1", "connect_timeout": 1.5})
    assert service.provider == "ears.internal"
    assert service.connect_timeout == 1.5
    with capture_logs() as logs:
        await service.prewarm()
    assert logs == []
    await service.close()


async def test_a_model_is_looked_up() -> None:
    async with OpenAIServer(api_key="k", models=["gpt-live"]) as server:
        await (good := Service("gpt-live", {"base_url": server.base_url, "api_key": "k"})).check()
        bad = Service("gpt-life", {"base_url": server.base_url, "api_key": "k"})
        with pytest.raises(MisconfiguredServiceError, match="did you mean 'gpt-live'"):
            await bad.check()
        for each in (good, bad):
            await each.close()


async def test_the_realtime_api_of_azure_has_no_dated_versions() -> None:
    async with OpenAIServer(azure=AzureGate()) as server:
        azure = AzureResource(server.base_url, api_key="an Azure key", api_version="2024-10-21")
        service = Service("any", {"azure": azure})
        await service.check()
        await service.close()
    assert server.paths == ["/openai/v1/models"]
    assert server.refused == []
