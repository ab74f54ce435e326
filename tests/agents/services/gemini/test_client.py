from typing import Any

import pytest

from mediaserver.agents.services import MisconfiguredServiceError
from mediaserver.agents.services.gemini.client import GeminiClient, model_path
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.gemini import GeminiServer


def client_of(server: GeminiServer, **settings: Any) -> GeminiClient:
    return GeminiClient(
        "gemini", **{"base_url": server.base_url, "api_key": server.api_key} | settings
    )


async def test_the_key_and_the_model_can_be_checked() -> None:
    async with GeminiServer(models=["gemini-3.8-flash"]) as server:
        client = client_of(server)
        await client.check("gemini-3.8-flash", "generateContent")
        with pytest.raises(MisconfiguredServiceError, match="no bidiGenerateContent"):
            await client.check("gemini-3.8-flash", "bidiGenerateContent")
        with pytest.raises(MisconfiguredServiceError, match="models/gemini-x is not found"):
            await client.check("gemini-x", "generateContent")
        await client.close()
        wrong = client_of(server, api_key="wrong")
        with pytest.raises(MisconfiguredServiceError, match="API key not valid"):
            await wrong.check("gemini-3.8-flash", "generateContent")
        await wrong.close()


def test_a_models_name_may_be_a_whole_path() -> None:
    assert model_path("gemini-3.8-flash") == "models/gemini-3.8-flash"
    assert model_path("tunedModels/mine") == "tunedModels/mine"


def test_the_provider_is_named_by_its_server() -> None:
    assert GeminiModel().provider == "gemini"
    assert GeminiModel(base_url="http://127.0.0.1:9").provider == "127.0.0.1"
