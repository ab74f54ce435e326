import asyncio
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.assemblyai.account import AssemblyAIAccount
from mediaserver.testing import in_virtual_time
from mediaserver.testing.assemblyai import AssemblyAIServer
from mediaserver.testing.socket_server import SocketFault


def account(server: AssemblyAIServer, api_key: str | None = None) -> AssemblyAIAccount:
    return AssemblyAIAccount("ears", base_url=server.base_url, api_key=api_key or server.api_key)


@in_virtual_time
async def test_a_session_has_begun_when_it_is_returned() -> None:
    async with AssemblyAIServer(session_seconds=600).running() as server:
        socket, begin = await account(server).connect({"speech_model": "u3-rt-pro"}, MULAW_8K)
        await socket.close()
    assert begin.id
    assert server.queries == [
        {"speech_model": "u3-rt-pro", "encoding": "pcm_mulaw", "sample_rate": "8000"}
    ]


@in_virtual_time
async def test_a_misspelt_setting_is_refused_and_named() -> None:
    async with AssemblyAIServer().running() as server:
        with pytest.raises(
            MisconfiguredServiceError, match=r"Invalid parameter 'speechModel' .* \(3006\)"
        ) as refused:
            await account(server).connect({"speechModel": "u3-rt-pro"}, MULAW_8K)
    assert refused.value.status == 400


@in_virtual_time
async def test_another_key_is_refused_without_being_shown() -> None:
    async with AssemblyAIServer().running() as server:
        with pytest.raises(MisconfiguredServiceError, match=r"\(1008\)") as refused:
            await account(server, "another").connect({}, MULAW_8K)
        with pytest.raises(MisconfiguredServiceError, match="refused the key with 401"):
            await account(server, "another").check()
    assert refused.value.status == 401
    assert "another" not in str(refused.value)


@in_virtual_time
async def test_too_many_sessions_are_told_with_their_status() -> None:
    async with AssemblyAIServer(sessions=1).running() as server:
        socket, _ = await account(server).connect({}, MULAW_8K)
        with pytest.raises(ServiceError, match="Too many concurrent sessions") as refused:
            await account(server).connect({}, MULAW_8K)
        await socket.close()
    assert refused.value.status == 429
    assert not isinstance(refused.value, MisconfiguredServiceError)


@in_virtual_time
async def test_a_session_that_does_not_begin_is_given_up() -> None:
    async with AssemblyAIServer(faults=(SocketFault(then="stall"),)).running() as server:
        before = asyncio.get_running_loop().time()
        with pytest.raises(ServiceError, match="began no session within 3 s"):
            await account(server).connect({}, MULAW_8K)
        assert asyncio.get_running_loop().time() - before < 5


@in_virtual_time
async def test_a_connection_that_is_lost_before_the_session_begins_is_an_error() -> None:
    async with AssemblyAIServer(faults=(SocketFault(then="disconnect"),)).running() as server:
        with pytest.raises(ServiceError, match="was lost"):
            await account(server).connect({}, MULAW_8K)


@in_virtual_time
async def test_a_key_is_checked_without_a_session() -> None:
    async with AssemblyAIServer().running() as server:
        await account(server).check()
        assert server.queries == []


@in_virtual_time
async def test_a_session_may_use_a_temporary_token_in_place_of_a_key() -> None:
    async with AssemblyAIServer().running() as server:
        server.tokens.add("once")

        async def token() -> str:
            return "once"

        borrowed = AssemblyAIAccount("ears", base_url=server.base_url, token=token)
        await borrowed.check()
        socket, _ = await borrowed.connect({}, MULAW_8K)
        await socket.close()
        with pytest.raises(MisconfiguredServiceError, match="Unauthorized") as refused:
            await borrowed.connect({}, MULAW_8K)
    assert "once" not in str(refused.value)


@in_virtual_time
async def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    with pytest.raises(MisconfiguredServiceError, match="set ASSEMBLYAI_API_KEY"):
        await AssemblyAIAccount("ears").connect({}, MULAW_8K)


def test_a_key_and_a_token_are_not_both_given() -> None:
    async def token() -> str:
        return "once"

    with pytest.raises(ValueError, match="in place of api_key"):
        AssemblyAIAccount("ears", api_key="key", token=token)


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (OSError("no route"), "token failed: no route"),
        (TimeoutError(), "token failed: TimeoutError"),
        ("", "token must return a text, not str"),
        (None, "token must return a text, not NoneType"),
        (ServiceError("mine", "closed"), "mine: closed"),
    ],
)
@in_virtual_time
async def test_a_token_that_cannot_be_had_is_an_error_of_the_service(
    returns: object, said: str
) -> None:
    async def token() -> Any:
        if isinstance(returns, Exception):
            raise returns
        return returns

    borrowed = AssemblyAIAccount("ears", base_url="ws://127.0.0.1:9", token=token)
    uses: Any = (borrowed.check, lambda: borrowed.connect({}, MULAW_8K))
    for use in uses:
        with pytest.raises(ServiceError, match=said):
            await use()


@in_virtual_time
async def test_a_token_that_does_not_come_is_given_up() -> None:
    async def token() -> str:
        await asyncio.sleep(60)
        return "late"

    with pytest.raises(ServiceError, match="token failed"):
        await AssemblyAIAccount("ears", token=token).check()
