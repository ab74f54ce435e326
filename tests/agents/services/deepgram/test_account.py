import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.deepgram.account import (
    DeepgramAccount,
    require_between,
    require_text,
    require_text_list,
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
    assert require_text_list("keyterms", ("a", "b c")) == ["a", "b c"]
    assert require_between("speed", 1, 0.7, 1.5) == "1"
