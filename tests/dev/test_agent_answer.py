from collections.abc import Callable
from xml.etree import ElementTree

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from mediaserver.dev.agent_answer import AgentAnswer, with_stream_format
from mediaserver.plivo.signatures import form_params, verify_headers
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.webhooks import Target


AGENT, PAGE = "http://127.0.0.1:4000", "http://127.0.0.1:8090"
XML = (
    b'<Response><Stream bidirectional="true">ws://127.0.0.1:4000/stream?token=a</Stream></Response>'
)

Answer = Callable[[httpx.Request], httpx.Response]


async def ask(answer: Answer, query: str, account: Account | None = None) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        agent = AgentAnswer(AGENT, PAGE, account or Account(), client)
        app = Starlette(routes=[Route("/answer", agent.endpoint, methods=["POST"])])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=PAGE) as sandbox:
            return await sandbox.post(f"/answer{query}", data={"CallUUID": "1", "From": "+1 2"})


def planned(format: str = "") -> AgentAnswer:
    return AgentAnswer(AGENT, PAGE, Account(), httpx.AsyncClient())


def test_without_a_format_the_agent_itself_answers() -> None:
    plan = planned().plan()
    assert (plan.answer, plan.hangup) == (Target(f"{AGENT}/answer"), Target(f"{AGENT}/hangup"))


def test_with_a_format_the_page_answers_and_the_agent_hears_of_the_end() -> None:
    plan = planned().plan("audio/x-l16;rate=16000")
    assert plan.answer == Target(f"{PAGE}/answer?format=audio%2Fx-l16%3Brate%3D16000")
    assert plan.hangup == Target(f"{AGENT}/hangup")


def test_a_path_is_that_of_the_answer() -> None:
    path = "?path=%2Fshops%2Fparis"
    assert planned().plan("", "/shops/paris").answer == Target(f"{AGENT}/answer{path}")
    both = planned().plan("audio/x-mulaw;rate=8000", "/a").answer
    assert both == Target(f"{PAGE}/answer?format=audio%2Fx-mulaw%3Brate%3D8000&path=%2Fa")


def test_a_format_that_plivo_does_not_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="audio/x-mulaw;rate=8000"):
        planned().plan("audio/x-l16;rate=44100")


async def test_the_agents_xml_gets_the_format() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=XML)

    account = Account()
    response = await ask(answer, "?format=audio/x-l16;rate=24000&path=/a", account)
    (stream,) = ElementTree.fromstring(response.content)
    assert stream.attrib == {"bidirectional": "true", "contentType": "audio/x-l16;rate=24000"}
    assert stream.text == "ws://127.0.0.1:4000/stream?token=a"
    (request,) = asked
    assert str(request.url) == f"{AGENT}/answer?path=%2Fa"
    assert request.content == b"CallUUID=1&From=%2B1+2"
    params = form_params([("CallUUID", "1"), ("From", "+1 2")])
    token = account.auth_token.get_secret_value()
    verify_headers(request.headers, "POST", str(request.url), token, params)


async def test_an_agent_that_is_away_is_an_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    response = await ask(answer, "?format=audio/x-mulaw;rate=8000")
    assert response.status_code == 502
    assert "no answer" in response.text


async def test_an_error_of_the_agents_is_passed_on() -> None:
    response = await ask(
        lambda _: httpx.Response(403, text="no"), "?format=audio/x-mulaw;rate=8000"
    )
    assert (response.status_code, response.text) == (403, "no")


async def test_a_query_without_a_known_format_is_refused() -> None:
    assert (await ask(lambda _: httpx.Response(200), "")).status_code == 422


def test_what_is_not_xml_stays() -> None:
    assert with_stream_format(b"<Response>", "audio/x-mulaw;rate=8000") == b"<Response>"
