import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from mediaserver.server.process.listening import BindError
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.settings import Settings
from tests.server.process.test_daemon import live_call


pytestmark = pytest.mark.real_time


@contextlib.asynccontextmanager
async def operator(path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_operators_control_calls_by_a_unix_socket(
    start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    served = await start_daemon(admin=str(path))
    async with operator(path) as client, live_call(served) as websocket:
        (call,) = (await client.get("/calls")).json()["calls"]
        assert (call["call_id"], call["state"]) == ("call-1", "live")
        assert "mediaserver_calls_active 1.0" in (await client.get("/metrics")).text
        assert (await client.get("/readyz")).text == "ready\n"
        with capture_logs() as logged:
            response = await client.post("/calls/call-1/hangup")
        assert response.status_code == 200
        (line,) = [each for each in logged if each["event"] == "operator command"]
        assert (line["by"], line["call"]) == (f"uid {os.geteuid()}", "call-1")
        await websocket.wait_closed()
        assert websocket.close_reason == "hung up by an operator"
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as public:
        assert (await public.get("/metrics")).status_code == 404
        assert (await public.get("/calls")).status_code == 404


def test_what_a_trace_needs_is_imported_before_calls_come(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from unittest.mock import Mock
import anyio
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.settings import Settings

async def main():
    listeners = SideListeners(Settings(admin={str(tmp_path / "admin.sock")!r}))
    listeners.serve(Mock())
    before = set(sys.modules)
    async with anyio.create_task_group():
        pass
    assert set(sys.modules) == before, set(sys.modules) - before
    await listeners.close()

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def test_an_operator_drains_the_server(
    start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    served = await start_daemon(admin=str(path))
    async with operator(path) as client, live_call(served):
        assert (await client.post("/nodes/self/drain")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/nodes")).json()["nodes"][0]["state"] == "draining"
        again = await client.post("/nodes/self/drain")
        assert again.json()["detail"] == "it was draining already"
    await served.task
    assert served.daemon.exit_status == 0
    assert not path.exists()


async def test_an_address_asks_for_its_token(start_daemon: Callable[..., Any]) -> None:
    token = "sixteen-characters"
    with capture_logs() as logged:
        await start_daemon(admin="127.0.0.1:0", admin_token=token)
    (line,) = [each for each in logged if each["event"] == "admin"]
    async with httpx.AsyncClient(base_url=line["at"], timeout=30.0) as client:
        assert (await client.post("/reload")).status_code == 401
        headers = {"authorization": f"Bearer {token}"}
        assert (await client.post("/reload", headers=headers)).status_code == 200
        # A WebSocket is not to be had.
        upgrade = headers | {"connection": "upgrade", "upgrade": "websocket"}
        assert (await client.get("/calls", headers=upgrade)).status_code == 200


async def test_clients_that_say_nothing_keep_no_operator_out(
    start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    await start_daemon(admin=str(path))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(120):
            _, writer = await asyncio.open_unix_connection(path)
            stack.callback(writer.close)
        async with operator(path) as client:
            assert (await client.get("/healthz")).text == "ok\n"


async def test_clients_that_say_nothing_are_hung_up_on(
    start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    await start_daemon(admin=str(path), header_timeout=0.01)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    writer.close()


def test_a_place_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match="--admin"):
            SideListeners(Settings(admin=f"127.0.0.1:{port}"))
    path = tmp_path / "admin.sock"
    path.write_text("a file")
    with pytest.raises(BindError, match=r"--admin: .*not a socket"):
        SideListeners(Settings(admin=str(path)))
