import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.socket_account import SocketAccount
from mediaserver.testing import in_virtual_time
from mediaserver.testing.ink import InkServer


PATH = "/stt/websocket"
QUERY = {"model": "ink-2", "encoding": "pcm_mulaw", "sample_rate": "8000"}


def account(base_url: str | None, key: str | None = None, within: float = 5.0) -> SocketAccount:
    return SocketAccount(
        "ears",
        "EARS_API_KEY",
        "wss://api.example.com",
        lambda key: {"x-api-key": key, "cartesia-version": "2026-03-01"},
        base_url=base_url,
        api_key=key,
        connect_timeout=within,
    )


@in_virtual_time
async def test_the_key_is_in_the_headers_and_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EARS_API_KEY", raising=False)
    async with InkServer().running() as server:
        reached = account(server.base_url + "/")
        with pytest.raises(MisconfiguredServiceError, match="set EARS_API_KEY"):
            await reached.connect(PATH, QUERY)
        monkeypatch.setenv("EARS_API_KEY", server.api_key)
        await (await reached.connect(PATH, QUERY)).close()
        assert [path for path, _ in server.queries] == [PATH]


@in_virtual_time
async def test_a_wrong_key_is_told_without_showing_it() -> None:
    async with InkServer().running() as server:
        with pytest.raises(MisconfiguredServiceError, match="401") as refused:
            await account(server.base_url, "secret-of-mine").connect(PATH, QUERY)
        assert "secret-of-mine" not in str(refused.value)
    with pytest.raises(ServiceError, match="cannot connect"):
        await account(server.base_url, "key").connect(PATH, QUERY)


@pytest.mark.parametrize("url", ["api.example.com", "https://api.example.com", "ws://h?a=b"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url must look like wss://api\.example\.com"):
        account(url)


def test_a_time_limit_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match="connect_timeout"):
        account(None, within=0.0)


@in_virtual_time
async def test_a_session_is_waited_for_until_it_has_begun_but_not_for_ever() -> None:
    async with InkServer().running() as server:
        reached = account(server.base_url, server.api_key, within=2.0)
        path = "/stt/turns/websocket"
        came: list[bytes | str] = []

        def has_begun(socket: ServiceSocket, received: bytes | str) -> bool:
            came.append(received)
            return '"connected"' in str(received)

        await (await reached.begin(path, QUERY, has_begun)).close()
        assert len(came) == 1
        with pytest.raises(ServiceError, match="the session did not begin within 2 s"):
            await reached.begin(path, QUERY, lambda socket, received: False)
