import httpx
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from mediaserver.server.admin.app import (
    create_metrics_app,
)
from mediaserver.server.admin.commands import (
    WorkerEntry,
)
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.settings import Settings
from tests.server.admin.live import Answering, client_of


async def test_health_is_that_of_the_best_worker() -> None:
    directory = Answering()
    async with client_of(directory) as client:
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).text == "not ready\n"
        directory.listed = [
            WorkerEntry("1", 1, "ready", unready={"chat": "no answer"}),
            WorkerEntry("2", 2, "draining"),
            WorkerEntry("3", 3, "ready", unready={"chat": "no answer"}),
        ]
        response = await client.get("/readyz")
        assert (response.status_code, response.text) == (503, "not ready: chat: no answer\n")
        directory.listed.append(WorkerEntry("4", 4, "ready"))
        assert (await client.get("/readyz")).status_code == 200


async def test_metrics_are_here_unless_they_are_off(
    directory: OwnCalls, client: AsyncClient
) -> None:
    names = {
        each.name for each in text_string_to_metric_families((await client.get("/metrics")).text)
    }
    assert "mediaserver_calls_active" in names
    settings = Settings(admin="127.0.0.1:8001", metrics="off")
    async with client_of(directory, settings) as other:
        assert (await other.get("/metrics")).status_code == 404


async def test_metrics_alone_ask_for_their_own_token(directory: OwnCalls) -> None:
    app = create_metrics_app(directory, SecretStr("a-token"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://metrics") as client:
        assert (await client.get("/metrics")).status_code == 401
        headers = {"authorization": "Bearer a-token"}
        assert b"mediaserver_calls" in (await client.get("/metrics", headers=headers)).content
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/calls", headers=headers)).status_code == 404
