import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from mediaserver.agents.services import (
    Checked,
    MisconfiguredServiceError,
    Prewarmed,
    ServiceError,
    Text,
)
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.client import OpenAIClient
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.agents.services.openai.transcription import OpenAITranscription
from mediaserver.testing.openai import Hold, HttpReply, OpenAIServer, fails, says
from mediaserver.testing.replies import Received


HELLO = [Text("user", "hello")]


async def answer(model: OpenAIChat) -> list[Any]:
    return [piece async for piece in model.respond(HELLO, [])]


@pytest.mark.parametrize("service", [OpenAIChat, OpenAISpeech, OpenAITranscription])
def test_services_are_made_without_a_key_and_without_an_event_loop(
    service: type[OpenAIChat] | type[OpenAISpeech] | type[OpenAITranscription],
) -> None:
    assert isinstance(service("any"), Prewarmed)


async def test_the_first_use_says_which_variable_has_no_key() -> None:
    with pytest.raises(ServiceError, match=r"no key for https://api\.openai\.com/v1: set OPENAI_A"):
        OpenAIClient("test").get()
    groq = OpenAIClient(
        "test", base_url="https://api.groq.com/openai/v1", api_key_variable="GROQ_API_KEY"
    )
    with pytest.raises(ServiceError, match="set GROQ_API_KEY"):
        groq.get()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "localhost", "10.1.2.3", "vllm", "gpu.internal", "host.docker.internal"],
)
async def test_a_server_on_a_private_network_needs_no_key(host: str) -> None:
    client = OpenAIClient("test", base_url=f"http://{host}:8000/v1")
    assert client.get().api_key
    await client.close()


async def test_the_key_and_the_url_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.com/v1")
    client = OpenAIClient("test")
    assert client.get().api_key == "from-environment"
    assert str(client.get().base_url) == "https://example.com/v1/"
    await client.close()


async def test_the_key_may_have_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-1")
    client = OpenAIClient("test", base_url="https://example.com", api_key_variable="GROQ_API_KEY")
    assert client.get().api_key == "gsk-1"
    await client.close()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"base_url": "api.openai.com"}, "a base URL looks like"),
        ({"base_url": "ftp://x/v1"}, "a base URL looks like"),
        ({"max_retries": -1}, "max_retries must be a whole number, 0 or more, not -1"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"connect_timeout": 0}, "connect_timeout"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(
    settings: dict[str, float] | dict[str, int] | dict[str, str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        OpenAIClient("test", **settings)


def test_each_event_loop_has_a_client_of_its_own() -> None:
    client = OpenAIClient("test", base_url="http://localhost/v1")

    async def get() -> AsyncOpenAI:
        found = client.get()
        assert client.get() is found
        await client.close()
        return found

    assert asyncio.run(get()) is not asyncio.run(get())


async def test_a_closed_client_is_replaced_at_the_next_use() -> None:
    client = OpenAIClient("test", base_url="http://localhost/v1")
    first = client.get()
    await client.close()
    await client.close()
    assert first.is_closed()
    assert client.get() is not first
    await client.close()


async def test_prewarming_opens_the_connection_that_the_first_request_uses(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    model = use(OpenAIChat, "any")
    await model.prewarm()
    assert server.opened == 1
    await answer(model)
    await answer(model)
    assert server.opened == 1


async def test_prewarming_never_raises(use: Callable[..., Any]) -> None:
    await OpenAIClient("test").prewarm()  # there is no key
    await use(OpenAIChat, "any", base_url="http://127.0.0.1:1/v1").prewarm()


async def test_a_prewarm_that_takes_too_long_is_given_up() -> None:
    taken = asyncio.Event()
    leave = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await leave.wait()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = OpenAIClient("test", base_url=f"http://127.0.0.1:{port}/v1", connect_timeout=0.1)
    await client.prewarm()
    assert taken.is_set()
    leave.set()
    await client.close()
    listener.close()
    await listener.wait_closed()


async def test_a_wrong_key_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    async with OpenAIServer(api_key="right") as server:
        model = OpenAIChat("any", base_url=server.base_url)
        with pytest.raises(
            ServiceError, match=r"401: .* check OPENAI_API_KEY: Incorrect"
        ) as caught:
            await answer(model)
        await model.close()
    assert caught.value.status == 401
    assert caught.value.service == "openai_chat"


async def test_the_key_is_never_in_an_error(server: OpenAIServer, use: Callable[..., Any]) -> None:
    server.chat.will(fails(401, "Incorrect API key provided: sk-secret"))
    with pytest.raises(ServiceError, match=r"check api_key: .*\*\*\*") as caught:
        await answer(use(OpenAIChat, "any", api_key="sk-secret"))
    assert "sk-secret" not in str(caught.value)


async def test_the_right_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    async with OpenAIServer(api_key="right") as server:
        model = OpenAIChat("any", base_url=server.base_url)
        assert await answer(model)
        await model.close()


@pytest.mark.parametrize(
    ("reply", "reason", "status"),
    [
        (
            fails(404, "no such model"),
            r"404: .* has no 'any', or is not the base URL: no such",
            404,
        ),
        (fails(429, "slow down"), "429: more requests than .*: slow down", 429),
        (fails(429, "pay", code="insufficient_quota"), "429: the account's quota is used up", 429),
        (fails(403, "not you"), "403: not you", 403),
        (fails(500, "on fire"), "500: on fire", 500),
        (
            HttpReply([b"<h1>Bad\n gateway</h1>"], "text/html", 502),
            "502: <h1>Bad gateway</h1>",
            502,
        ),
        (HttpReply([b"x" * 999], "text/plain", 500), "x{200}[.]{3}$", 500),
    ],
)
async def test_a_status_becomes_a_reason(
    server: OpenAIServer, use: Callable[..., Any], reply: HttpReply, reason: str, status: int
) -> None:
    server.chat.will(reply)
    with pytest.raises(ServiceError, match=reason) as caught:
        await answer(use(OpenAIChat, "any"))
    assert caught.value.status == status


async def test_a_server_that_is_not_there_is_named(use: Callable[..., Any]) -> None:
    model = use(OpenAIChat, "any", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ServiceError, match=r"cannot reach http://127\.0\.0\.1:1/v1: ") as caught:
        await answer(model)
    assert caught.value.status is None


async def test_a_rate_limit_is_tried_again_after_the_time_it_asks_for(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(fails(429, retry_after=0.01), says("there"))
    assert "there" in await answer(use(OpenAIChat, "any", max_retries=1))
    assert len(server.chat.received) == 2


async def test_a_rate_limit_that_stays_is_an_error(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.answer = fails(429, retry_after=0.01)
    with pytest.raises(ServiceError, match="429"):
        await answer(use(OpenAIChat, "any", max_retries=2))
    assert len(server.chat.received) == 3


async def test_nobody_waits_on_the_phone_for_a_long_retry_after(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.answer = fails(429, retry_after=30)
    with pytest.raises(ServiceError, match="429"):
        await answer(use(OpenAIChat, "any", max_retries=2))
    assert len(server.chat.received) == 1


async def test_nor_for_one_in_milliseconds(server: OpenAIServer, use: Callable[..., Any]) -> None:
    server.chat.answer = HttpReply([b"{}"], status=429, headers={"retry-after-ms": "30000"})
    with pytest.raises(ServiceError, match="429"):
        await answer(use(OpenAIChat, "any", max_retries=2))
    assert len(server.chat.received) == 1


async def test_a_retry_after_that_is_a_date_is_left_to_openai(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    past = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "x-should-retry": "false"}
    server.chat.answer = HttpReply([b"{}"], status=503, headers=past)
    with pytest.raises(ServiceError, match="503"):
        await answer(use(OpenAIChat, "any", max_retries=1))


async def test_a_server_that_goes_on_after_its_end_is_not_waited_for(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    hello: Any = says("hello")

    def lingering(request: Received) -> HttpReply:
        reply: HttpReply = hello(request)
        return HttpReply([*reply.body, hold], reply.content_type)

    server.chat.will(lingering)
    assert "hello" in await answer(use(OpenAIChat, "any"))
    await asyncio.wait_for(hold.left.wait(), 5)


def test_a_missing_package_is_told_with_the_command_that_installs_it() -> None:
    program = (
        "import sys; sys.modules['openai'] = None\n"
        "try: import mediaserver.agents.services.openai.chat\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install '.[openai]'" in told.stdout


async def test_an_end_that_is_cut_off_is_an_end(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(HttpReply([b'data: {"choices": []}\n\ndata: [DONE]'], "text/event-stream"))
    assert await answer(use(OpenAIChat, "any")) == []


def test_whatever_else_openais_package_raises_is_told() -> None:
    with pytest.raises(ServiceError, match="test: odd"), OpenAIClient("test").failures("any"):
        raise openai.OpenAIError("odd")


async def test_no_error_tells_what_is_secret_in_the_url() -> None:
    client = OpenAIClient("test", base_url="http://me:hidden@localhost:1/v1?key=private")
    with pytest.raises(ServiceError) as raised, client.failures("any"):
        await client.get().models.list()
    assert "localhost:1" in str(raised.value)
    assert "hidden" not in str(raised.value)
    assert "private" not in str(raised.value)


# Checks at start.


def checked(server: OpenAIServer, key: str = "right", model: str = "gpt-good") -> OpenAIChat:
    return OpenAIChat(model, base_url=server.base_url, api_key=key)


async def test_a_key_and_a_model_that_the_server_knows_pass() -> None:
    async with OpenAIServer(api_key="right", models=["gpt-good"]) as server:
        service = checked(server)
        assert isinstance(service, Checked)
        await service.check()
        await service.close()


@pytest.mark.parametrize(
    ("key", "model", "text"),
    [
        ("wrong", "gpt-good", "rejects the key; check api_key"),
        ("right", "gpt-goud", "has no model 'gpt-goud'; did you mean 'gpt-good'?"),
    ],
)
async def test_a_key_or_a_model_that_the_server_refuses_is_told(
    key: str, model: str, text: str
) -> None:
    async with OpenAIServer(api_key="right", models=["gpt-good"]) as server:
        service = checked(server, key, model)
        with pytest.raises(MisconfiguredServiceError, match=re.escape(text)):
            await service.check()
        await service.close()


async def test_a_missing_key_is_told_without_a_connection() -> None:
    with pytest.raises(MisconfiguredServiceError, match="set OPENAI_API_KEY"):
        await OpenAIChat("any").check()


async def test_a_server_that_cannot_be_reached_may_be_later() -> None:
    async with OpenAIServer() as server:
        service = checked(server)
    with pytest.raises(ServiceError, match="cannot reach") as away:
        await service.check()
    assert not isinstance(away.value, MisconfiguredServiceError)
    await service.close()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "there is no such path"),
        (405, "not allowed"),
        (401, "Missing scopes: api.model.read"),
        (403, "Missing scopes: api.model.read"),
        (429, "slow down"),
        (503, "overloaded"),
    ],
)
async def test_an_answer_that_says_nothing_of_key_and_model_passes(
    monkeypatch: pytest.MonkeyPatch, status: int, text: str
) -> None:
    monkeypatch.setattr(OpenAIServer, "reply", lambda *_: fails(status, text))
    async with OpenAIServer() as server:
        service = checked(server)
        await service.check()
        await service.close()


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_key_that_is_refused_is_told_without_a_model(status: int) -> None:
    async with OpenAIServer(api_key="right") as server:
        client = OpenAIClient("test", base_url=server.base_url, api_key="right")
        await client.check_key()
        server.reply = lambda *_: fails(status)  # type: ignore[method-assign]
        with pytest.raises(MisconfiguredServiceError, match=f"test: {status}"):
            await client.check_key()
        server.reply = lambda *_: fails(503)  # type: ignore[method-assign]
        with pytest.raises(ServiceError, match="503") as raised:
            await client.check_key()
        assert not isinstance(raised.value, MisconfiguredServiceError)
        await client.close()
