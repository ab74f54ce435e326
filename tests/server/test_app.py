import logging
from xml.etree import ElementTree

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mediaserver.agents import Echo
from mediaserver.handler import Route
from mediaserver.server.app import create_app


CALL = {"CallUUID": "call-1", "From": "14155550100", "To": "14155550199", "Event": "StartApp"}


def client_of(runtime, **transport):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(runtime), **transport),
        base_url="http://testserver",
    )


@pytest.fixture
async def runtime(start_runtime):
    return await start_runtime(public_url="https://voice.example.com")


@pytest.fixture
async def client(runtime):
    async with client_of(runtime) as client:
        yield client


def stream_url(response):
    return ElementTree.fromstring(response.content)[0].text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_server_that_runs_is_healthy_and_ready(client, path):
    assert (await client.get(path)).status_code == 200
    assert (await client.head(path)).status_code == 200


async def test_a_draining_server_is_healthy_and_not_ready(client, runtime):
    runtime.draining = True
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 503


async def test_a_full_server_is_ready_to_say_so(client, runtime):
    while runtime.admission.admit():
        pass
    assert (await client.get("/readyz")).status_code == 200


async def test_the_answer_to_a_get_is_xml(client, runtime):
    response = await client.get("/answer", params=CALL)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/xml"
    assert stream_url(response).startswith("wss://voice.example.com/stream?token=")
    assert runtime.counters.webhooks == {"stream": 1}


async def test_the_answer_to_a_post_is_the_same(client):
    response = await client.post("/answer", data=CALL)
    assert stream_url(response).startswith("wss://voice.example.com/stream?token=")


async def test_the_query_of_a_post_counts_too(client):
    assert (await client.post("/answer", params=CALL)).status_code == 200


async def test_the_query_can_name_the_stream(start_runtime):
    runtime = await start_runtime(Route(Echo, "/one"), Route(Echo, "/two"))
    async with client_of(runtime) as client:
        response = await client.post("/answer?path=/two", data=CALL)
    assert "/two?token=" in stream_url(response)


async def test_a_body_that_is_no_form_is_refused(client):
    response = await client.post("/answer", json=CALL)
    assert response.status_code == 400
    assert "application/json; Plivo sends application/x-www-form-urlencoded" in response.text


async def test_a_request_that_is_none_of_plivos_is_refused(client, runtime):
    response = await client.post("/answer", data={"hello": "world"})
    assert response.status_code == 400
    assert "CallUUID is missing" in response.text
    assert runtime.counters.webhooks == {"malformed": 1}


async def test_a_caller_turned_away_is_counted(start_runtime):
    runtime = await start_runtime(max_calls=1)
    runtime.admission.admit()
    async with client_of(runtime) as client:
        await client.post("/answer", data=CALL)
    assert runtime.counters.refused == {"busy": 1}


async def test_without_a_public_url_the_host_header_is_believed_and_said_so_once(
    start_runtime, monkeypatch
):
    warnings = []
    monkeypatch.setattr(
        "mediaserver.server.app.log.warning", lambda event, **more: warnings.append(event)
    )
    runtime = await start_runtime()
    async with client_of(runtime) as client:
        for _ in range(2):
            response = await client.post("/answer", data=CALL, headers={"host": "a.example:81"})
            assert stream_url(response).startswith("ws://a.example:81/stream?")
    assert warnings == ["public URL not set"]


async def test_a_trusted_proxy_says_what_the_public_url_is(start_runtime):
    runtime = await start_runtime(trusted_proxies="10.0.0.0/8")
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "voice.example.com"}
    async with client_of(runtime, client=("10.0.0.9", 1)) as client:
        response = await client.post("/answer", data=CALL, headers=forwarded)
        assert stream_url(response).startswith("wss://voice.example.com/stream?")
    async with client_of(runtime, client=("198.51.100.1", 1)) as client:
        response = await client.post("/answer", data=CALL, headers=forwarded)
        assert stream_url(response).startswith("ws://testserver/stream?")


@pytest.mark.parametrize("host", ["a/b", "[", "", "user@h"])
async def test_a_host_that_is_none_is_refused(start_runtime, host):
    runtime = await start_runtime()
    async with client_of(runtime) as client:
        response = await client.post("/answer", data=CALL, headers={"host": host})
    assert response.status_code == 400
    assert "--public-url" in response.text


async def test_an_unknown_path_says_what_there_is(client):
    response = await client.get("/nowhere")
    assert response.status_code == 404
    assert "/answer" in response.text


async def test_the_path_of_the_stream_says_that_it_is_a_websocket(client):
    response = await client.get("/stream")
    assert response.status_code == 426
    assert response.headers["upgrade"] == "websocket"


async def test_another_method_is_not_allowed(client):
    assert (await client.delete("/answer")).status_code == 405


async def test_metrics_can_be_read_by_prometheus(client, runtime):
    await client.post("/answer", data=CALL)
    runtime.counters.refuse("full")
    response = await client.get("/metrics")
    families = {each.name: each for each in text_string_to_metric_families(response.text)}
    assert families["mediaserver_calls_active"].samples[0].value == 0
    (refused,) = families["mediaserver_calls_refused"].samples
    assert (refused.labels, refused.value) == ({"cause": "full"}, 1)
    (webhooks,) = families["mediaserver_webhooks"].samples
    assert (webhooks.labels, webhooks.value) == ({"kind": "stream"}, 1)


async def test_the_token_is_not_logged(client, caplog):
    with caplog.at_level(logging.DEBUG):
        response = await client.post("/answer", data=CALL)
    token = stream_url(response).partition("token=")[2]
    assert token not in caplog.text
