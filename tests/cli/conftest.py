"""The command line, run in this process and in a folder of its own."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from audiocodecs import write_wav
from mediaserver.agents import Echo
from mediaserver.cli import app
from mediaserver.demo.server import serving
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import LoadReport
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


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A WAV file with 0.3 s of a tone."""
    time = np.arange(2_400) / 8_000
    path = tmp_path / "in.wav"
    write_wav(path, (8_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16), 8_000)
    return path


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


def report_of(monkeypatch: pytest.MonkeyPatch, run: Run, *options: str, **changes: Any) -> Result:
    """Run a load that comes to a given report."""

    async def loaded(url: str, **options: Any) -> LoadReport:
        return replace(LoadReport(url, "", 3, 1.0, 1.0, made=3), **changes)

    monkeypatch.setattr("mediaserver.sandbox.load", loaded)
    return run("load", "ws://127.0.0.1:1/", *options)
