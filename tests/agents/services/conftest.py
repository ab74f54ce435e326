from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.testing.openai import OpenAIServer


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keys the person who runs the tests has, they are not used."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def use(server: OpenAIServer) -> AsyncIterator[Any]:
    """Make services that speak to the local server, and close them."""
    made = []

    def use(service: type[Any], *args: Any, **settings: Any) -> Any:
        made.append(service(*args, **{"base_url": server.base_url, "max_retries": 0} | settings))
        return made[-1]

    yield use
    for service in made:
        await service.close()
