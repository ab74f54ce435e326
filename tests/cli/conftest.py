"""The command line, run in this process and in a folder of its own."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mediaserver.agents import Echo
from mediaserver.cli import app
from mediaserver.demo.server import serving
from mediaserver.routes import Route, Routes
from mediaserver.telemetry.logs import configure_logs
from tests.cli.processes import AUTH_ID, AUTH_TOKEN, Run, mediaserver


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder; a command may add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def run() -> Run:
    """Run the command with arguments, and return its result."""

    def invoke(*arguments: object) -> Result:
        return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(each) for each in arguments])

    return invoke


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    """The stream of a server that echoes, in a thread."""
    configure_logs("error")
    with serving(Routes(Route(Echo))) as url:
        yield url


@pytest.fixture(scope="module")
def strict_url() -> Iterator[str]:
    """The stream of a server that takes only what Plivo has signed."""
    serve = ("serve", "mediaserver.agents:Echo", "--port", "0", "--log-format", "json")
    account = {"MEDIASERVER_AUTH_ID": AUTH_ID, "MEDIASERVER_AUTH_TOKEN": AUTH_TOKEN}
    with mediaserver(*serve, reads="stderr", **account) as log:
        entries = map(json.loads, iter(log.readline, ""))
        yield next(entry["stream"] for entry in entries if entry["event"] == "route")


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    """The API of a sandbox."""
    account = ("--auth-id", AUTH_ID, "--auth-token", AUTH_TOKEN)
    options = ("--port", "0", *account, "--phone", "say hello; hang up")
    with mediaserver("sandbox", *options, reads="stdout") as printed:
        values: dict[str, str] = {}
        while not any(name.endswith("_URL") for name in values):
            name, _, values[name] = printed.readline().strip().partition("=")
        assert {AUTH_ID, AUTH_TOKEN} <= set(values.values())
        yield values[name]
