from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.gemini import GeminiServer


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key the person who runs the tests has, it is not used."""
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)


@pytest.fixture
async def gemini() -> AsyncIterator[GeminiServer]:
    async with GeminiServer(signed=True) as server:
        yield server


@pytest.fixture
async def model(gemini: GeminiServer) -> AsyncIterator[Any]:
    model = GeminiModel(base_url=gemini.base_url, api_key=gemini.api_key, max_retries=0)
    yield model
    await model.close()
