import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.service_address import ServiceAddress
from mediaserver.testing import in_virtual_time
from mediaserver.testing.assemblyai import AssemblyAIServer


LIKE = "wss://api.example.com"


@pytest.mark.parametrize(
    ("base_url", "socket"),
    [
        ("wss://api.example.com", "wss://api.example.com/v1"),
        ("https://api.example.com/", "wss://api.example.com/v1"),
        ("http://127.0.0.1:9", "ws://127.0.0.1:9/v1"),
    ],
)
def test_an_address_may_be_written_for_http(base_url: str, socket: str) -> None:
    assert ServiceAddress(base_url, LIKE).socket("/v1") == socket


@pytest.mark.parametrize("base_url", ["api.example.com", "wss://", "wss://h/v1", "ftp://h"])
def test_what_is_no_base_url_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match=f"base_url must look like {LIKE}"):
        ServiceAddress(base_url, LIKE)


@in_virtual_time
async def test_a_check_tells_a_wrong_key_from_a_server_that_fails() -> None:
    async with AssemblyAIServer().running() as server:
        address = ServiceAddress(server.base_url, LIKE)
        query = {"expires_in_seconds": "60"}
        key = {"authorization": server.api_key}
        await address.check_key("ears", "/v3/token", headers=key, query=query)
        with pytest.raises(MisconfiguredServiceError, match="refused the key with 401"):
            await address.check_key("ears", "/v3/token", headers={}, query=query)
        with pytest.raises(ServiceError, match="answered the check of the key with 404"):
            await address.check_key("ears", "/v3/tokens", headers=key)


@in_virtual_time
async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ServiceError, match=r"cannot reach 127\.0\.0\.1:9"):
        await ServiceAddress("ws://127.0.0.1:9", LIKE).check_key("ears", "/", headers={})
