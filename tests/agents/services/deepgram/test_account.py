import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.deepgram.account import (
    DeepgramAccount,
    require_between,
    require_text,
    switches,
    text_lists,
)
from mediaserver.testing import in_virtual_time
from mediaserver.testing.deepgram import DeepgramServer


@in_virtual_time
async def test_a_misspelt_setting_is_refused() -> None:
    async with DeepgramServer().running() as server:
        account = DeepgramAccount("ears", base_url=server.base_url, api_key=server.api_key)
        with pytest.raises(ServiceError, match=r"400: .*unknown parameter 'key_term'"):
            await account.connect("/v1/listen", {"model": "nova-3", "key_term": "a"}, MULAW_8K)


@in_virtual_time
async def test_a_base_url_may_be_one_for_http() -> None:
    async with DeepgramServer().running() as server:
        url = server.base_url.replace("ws", "http") + "/"
        account = DeepgramAccount("ears", base_url=url, api_key=server.api_key)
        socket = await account.connect("/v1/listen", {"model": "nova-3"}, MULAW_8K)
        await socket.close()


def test_settings_are_returned_as_deepgram_reads_them() -> None:
    assert require_text("model", "nova-3") == "nova-3"
    assert require_between("speed", 1, 0.7, 1.5) == "1"
    assert switches(numerals=True, mip_opt_out=False) == {"numerals": "true"}
    assert text_lists(keyterm=("a",), tag=()) == {"keyterm": ["a"]}


@in_virtual_time
async def test_a_key_is_checked_without_a_connection_for_audio() -> None:
    async with DeepgramServer().running() as server:
        account = DeepgramAccount("ears", base_url=server.base_url, api_key=server.api_key)
        await account.check()
        other = DeepgramAccount("ears", base_url=server.base_url, api_key="another")
        with pytest.raises(MisconfiguredServiceError, match="refused the key with 401"):
            await other.check()
        assert server.queries == []


@in_virtual_time
async def test_a_server_that_is_not_there_is_named() -> None:
    account = DeepgramAccount("ears", base_url="ws://127.0.0.1:9", api_key="any")
    with pytest.raises(ServiceError, match=r"cannot reach 127\.0\.0\.1:9"):
        await account.check()


@pytest.mark.parametrize("url", ["api.deepgram.com", "wss://", "wss://host/v1/listen", "ftp://h"])
def test_an_address_that_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url must look like wss://api\.deepgram\.com"):
        DeepgramAccount("ears", base_url=url)


def test_settings_that_deepgram_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="model is a word such as 'nova-3'"):
        require_text("model", "nova 3")
    with pytest.raises(ValueError, match=r"speed must be a number from 0\.7 to 1\.5, not 2"):
        require_between("speed", 2, 0.7, 1.5)
