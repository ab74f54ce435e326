import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeSessionCreateRequestParam
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mediaserver.testing.openai.realtime import OpenAIRealtimeServer, RealtimeAnswer


async def test_it_serves_openais_own_client() -> None:
    server = OpenAIRealtimeServer(RealtimeAnswer(text="Hello there."))
    async with server.running():
        openai = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        async with openai.realtime.connect(model="any") as connection:
            await connection.session.update(
                session=RealtimeSessionCreateRequestParam(type="realtime")
            )
            await connection.response.create()
            kinds = []
            async for event in connection:
                kinds.append(event.type)
                if event.type == "response.done":
                    assert event.response.usage is not None
                    assert event.response.usage.input_tokens == 120
                    break
    assert kinds[:3] == ["session.created", "session.updated", "response.created"]
    assert server.refusals == []
    assert (len(server.sessions), server.open) == (1, 0)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/realtime?model=any", "wrong", 401),
        ("/realtime", "a test key", 400),
        ("/other?model=any", "a test key", 404),
        ("/realtime?model=any", "a test key", 503),
    ],
)
async def test_connections_are_refused_as_openai_refuses_them(
    path: str, key: str, status: int
) -> None:
    server = OpenAIRealtimeServer(refuse=(503, 1))
    async with server.running():
        url = server.base_url.replace("http", "ws") + path
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"Authorization": f"Bearer {key}"})
    assert refused.value.response.status_code == status


async def test_waiting_for_a_message_has_a_limit_and_says_what_came() -> None:
    server = OpenAIRealtimeServer()
    await server.accepted({"type": "session.update"})
    assert await server.wait_for("session.update") == {"type": "session.update"}
    with pytest.raises(TimeoutError, match=r"0 of 2 .*'response.create'.*received: session.update"):
        await server.wait_for("response.create", 2, within=0.0)
