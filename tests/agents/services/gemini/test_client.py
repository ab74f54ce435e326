from typing import Any

import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.gemini.client import GeminiClient, model_path
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.gemini import GeminiServer, answers, refuses
from mediaserver.testing.replies import Disconnect, HttpReply


def client_of(server: GeminiServer, **settings: Any) -> GeminiClient:
    return GeminiClient(
        "gemini", **{"base_url": server.base_url, "api_key": server.api_key} | settings
    )


async def events(client: GeminiClient) -> list[bytes]:
    try:
        body = b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'
        path = "models/any:streamGenerateContent?alt=sse"
        return [data async for data in client.events(path, body)]
    finally:
        await client.close()


@pytest.mark.parametrize("fault", [refuses(503, "overloaded"), HttpReply([Disconnect()])])
async def test_a_passing_failure_is_tried_again(gemini: GeminiServer, fault: HttpReply) -> None:
    gemini.generate.will(fault, answers("Hello."))
    assert len(await events(client_of(gemini))) == 2


@pytest.mark.parametrize("status", [400, 429])
async def test_what_would_fail_again_is_not(gemini: GeminiServer, status: int) -> None:
    gemini.generate.will(refuses(status, "no"))
    with pytest.raises(ServiceError, match=f"{status}: no") as refused:
        await events(client_of(gemini))
    assert refused.value.status == status
    assert len(gemini.generate.received) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again(gemini: GeminiServer) -> None:
    gemini.generate.will(answers("So", Disconnect()))
    with pytest.raises(ServiceError, match="the answer broke off"):
        await events(client_of(gemini))
    assert len(gemini.generate.received) == 1


async def test_something_else_than_events_is_refused(gemini: GeminiServer) -> None:
    gemini.generate.will(HttpReply([b"<html>"], "text/html"))
    with pytest.raises(ServiceError, match="answered with text/html instead of events"):
        await events(client_of(gemini))


async def test_a_server_that_is_not_there_is_named(gemini: GeminiServer) -> None:
    url = "http://127.0.0.1:9"
    with pytest.raises(ServiceError, match=f"cannot reach {url}"):
        await events(client_of(gemini, base_url=url, max_retries=0))


async def test_the_key_and_the_model_can_be_checked() -> None:
    async with GeminiServer(models=["gemini-3.8-flash"]) as server:
        client = client_of(server)
        await client.check("gemini-3.8-flash", "generateContent")
        with pytest.raises(MisconfiguredServiceError, match="no bidiGenerateContent"):
            await client.check("gemini-3.8-flash", "bidiGenerateContent")
        with pytest.raises(MisconfiguredServiceError, match="models/gemini-x is not found"):
            await client.check("gemini-x", "generateContent")
        await client.close()
        wrong = client_of(server, api_key="wrong")
        with pytest.raises(MisconfiguredServiceError, match="API key not valid"):
            await wrong.check("gemini-3.8-flash", "generateContent")
        await wrong.close()


async def test_a_missing_key_is_named(gemini: GeminiServer) -> None:
    model = GeminiModel(base_url=gemini.base_url)
    with pytest.raises(MisconfiguredServiceError, match="GEMINI_API_KEY"):
        await model.check()
    await model.prewarm()
    assert gemini.opened == 0


async def test_a_connection_is_opened_before_it_is_needed(
    gemini: GeminiServer, model: GeminiModel
) -> None:
    await model.prewarm()
    assert gemini.opened == 1
    await model.check()
    assert gemini.opened == 1
    assert model.provider == "127.0.0.1"
    assert GeminiModel().provider == "gemini"


@pytest.mark.parametrize("url", ["generativelanguage.googleapis.com", "ftp://x", "http://x?key=1"])
def test_a_wrong_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="a base URL looks like"):
        GeminiClient("gemini", base_url=url)


def test_a_models_name_may_be_a_whole_path() -> None:
    assert model_path("gemini-3.8-flash") == "models/gemini-3.8-flash"
    assert model_path("tunedModels/mine") == "tunedModels/mine"


@pytest.mark.parametrize("status", [403, 429])
async def test_no_error_shows_the_key(gemini: GeminiServer, status: int) -> None:
    gemini.generate.will(refuses(status, f"{'x' * 290} api_key:{gemini.api_key} is suspended"))
    with pytest.raises(ServiceError) as refused:
        await events(client_of(gemini))
    assert gemini.api_key[:4] not in refused.value.reason
