from typing import Any

from tests.agents.virtual_network import VirtualNetworkLoop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Any:
    """Have asynchronous tests run in virtual time, and reach their servers without a network."""
    return {"virtual": VirtualNetworkLoop}
