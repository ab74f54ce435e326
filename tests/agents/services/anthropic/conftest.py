from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.agents.services.anthropic.model import AnthropicModel
from mediaserver.testing.anthropic import AnthropicServer


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key the person who runs the tests has, it is not used."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def anthropic() -> AsyncIterator[AnthropicServer]:
    async with AnthropicServer() as server:
        yield server


@pytest.fixture
async def model(anthropic: AnthropicServer) -> AsyncIterator[Any]:
    model = AnthropicModel(
        base_url=anthropic.base_url, api_key=anthropic.api_key, thinking="adaptive", max_retries=0
    )
    yield model
    await model.close()
