"""What holds for every test of an agent: virtual time, and no phrases that another test made."""

from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.phrases import PHRASE_CACHE
from tests.agents.virtual_network import VirtualNetworkLoop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Any:
    """Have asynchronous tests run in virtual time, and reach their servers without a network.

    A file of tests that needs another such network has it as ``NETWORK``.
    """
    return {"virtual": getattr(item.module, "NETWORK", VirtualNetworkLoop)}


@pytest.fixture(autouse=True)
def no_phrases_yet() -> None:
    """Have each test synthesise its phrases itself."""
    PHRASE_CACHE._kept.clear()
    PHRASE_CACHE.format = MULAW_8K
