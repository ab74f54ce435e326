from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from mediaserver.routes import Routes
from mediaserver.server.process.app import create_app
from mediaserver.server.runtime import Runtime


CALL = {"CallUUID": "call-1", "From": "14155550100", "To": "14155550199", "Event": "StartApp"}


def client_of(runtime: Runtime, **transport: Any) -> AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(runtime), **transport),
        base_url="http://testserver",
    )


@pytest.fixture
async def runtime(start_runtime: Callable[..., Any]) -> Any:
    return await start_runtime(public_url="https://voice.example.com")


@pytest.fixture
async def client(runtime: Runtime) -> AsyncIterator[Any]:
    async with client_of(runtime) as client:
        yield client


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_server_that_runs_is_healthy_and_ready(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200
    assert (await client.head(path)).status_code == 200


async def test_a_draining_server_is_healthy_and_not_ready(
    client: AsyncClient, runtime: Runtime
) -> None:
    runtime.draining = True
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 503


async def test_a_server_without_its_services_is_not_ready_and_says_which(
    client: AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Routes, "unready", {"chat": "cannot reach https://example.com"})
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.text == "not ready: chat: cannot reach https://example.com\n"
    assert (await client.get("/healthz")).status_code == 200


async def test_a_full_server_is_ready_to_say_so(client: AsyncClient, runtime: Runtime) -> None:
    while runtime.admission.admit():
        pass
    assert (await client.get("/readyz")).status_code == 200


async def test_an_unknown_path_says_what_there_is(client: AsyncClient) -> None:
    response = await client.get("/nowhere")
    assert response.status_code == 404
    for path in ("/answer", "/fallback", "/hangup", "/status"):
        assert path in response.text


async def test_the_path_of_the_stream_says_that_it_is_a_websocket(client: AsyncClient) -> None:
    response = await client.get("/stream")
    assert response.status_code == 426
    assert response.headers["upgrade"] == "websocket"


async def test_metrics_can_be_read_by_prometheus(client: AsyncClient, runtime: Runtime) -> None:
    await client.post("/answer", data=CALL)
    runtime.counters.refuse("full")
    runtime.counters.stream_statuses["degraded"] += 1
    response = await client.get("/metrics")
    families = {each.name: each for each in text_string_to_metric_families(response.text)}
    assert families["mediaserver_calls_active"].samples[0].value == 0
    (refused,) = families["mediaserver_calls_refused"].samples
    assert (refused.labels, refused.value) == ({"cause": "full"}, 1)
    (webhooks,) = families["mediaserver_webhooks"].samples
    assert (webhooks.labels, webhooks.value) == ({"kind": "stream"}, 1)
    (statuses,) = families["mediaserver_stream_statuses"].samples
    assert (statuses.labels, statuses.value) == ({"kind": "degraded"}, 1)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic s3cret"}, 401),
        ({"Authorization": "Bearer s3cret"}, 200),
    ],
)
async def test_metrics_may_need_a_token(
    start_runtime: Callable[..., Any], given: dict[str, str], status: int
) -> None:
    runtime = await start_runtime(metrics_token="s3cret")
    async with client_of(runtime) as client:
        response = await client.get("/metrics", headers=given)
    assert response.status_code == status
    assert ("mediaserver_calls_total" in response.text) is (status == 200)


@pytest.mark.parametrize("metrics", ["off", "127.0.0.1:9100"])
async def test_metrics_may_be_elsewhere(start_runtime: Callable[..., Any], metrics: str) -> None:
    runtime = await start_runtime(metrics=metrics)
    async with client_of(runtime) as client:
        response = await client.get("/metrics")
        assert response.status_code == 404
        assert "--metrics" in response.text
        assert (await client.get("/healthz")).status_code == 200
