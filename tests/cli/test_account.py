"""``dial`` and ``setup-number``, against a sandbox that is a process of its own."""

import json
import socket
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import Result

from mediaserver.handler import Handler
from tests.cli.processes import AUTH_ID, AUTH_TOKEN, Run


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIASERVER_AUTH_ID", AUTH_ID)
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", AUTH_TOKEN)


def dial(
    run: Run, sandbox_url: str, *arguments: str, handler: str = "mediaserver.agents:Echo"
) -> Result:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return run(
        "dial", "+14155550123", "--from", "+14155550100", "--handler", handler,
        "--api-url", sandbox_url, "--port", port, "--public-url", f"http://127.0.0.1:{port}",
        *arguments,
    )  # fmt: skip


class Loud(Handler):
    """Hangs up, and notes its setting."""

    made: ClassVar[list[str]] = []

    def __init__(self, volume: str = "1") -> None:
        if not volume.isdigit():
            raise ValueError(f"must be a number, not {volume!r}")
        self.made.append(volume)

    async def on_start(self) -> None:
        await self.stream.hang_up()


def test_a_call_is_placed_handled_and_reported(run: Run, sandbox_url: str) -> None:
    result = dial(run, sandbox_url, "--json")
    assert result.exit_code == 0, result.stderr
    (report,) = json.loads(result.stdout)
    assert report["outcome"] == "answered"
    assert report["handled"]
    assert report["ok"]


def test_a_handler_is_given_its_settings(run: Run, sandbox_url: str) -> None:
    handler = "tests.cli.test_account:Loud"
    result = dial(run, sandbox_url, "--set", "volume=3", handler=handler)
    assert result.exit_code == 0, result.stderr
    assert Loud.made[-1] == "3"


@pytest.mark.parametrize(
    ("arguments", "handler", "text"),
    [
        (["--machine", "dance"], "mediaserver.agents:Echo", "ignore, detect, hangup"),
        ([], "nowhere:Nothing", "there is no module 'nowhere'"),
        ([], "mediaserver:Route", "not a subclass of mediaserver.Handler"),
        (["--config", "missing.toml"], "mediaserver.agents:Echo", "missing.toml"),
        (["--set", "greeting"], "mediaserver.agents:Echo", "--set greeting='Hello!'"),
        (["--set", "greeting=Hi"], "mediaserver.agents:Echo", "no setting 'greeting'"),
        (["--set", "volume=high"], "tests.cli.test_account:Loud", "must be a number"),
    ],
)
def test_what_cannot_be_dialled_is_refused_with_status_2(
    run: Run, sandbox_url: str, arguments: list[str], handler: str, text: str
) -> None:
    result = dial(run, sandbox_url, *arguments, handler=handler)
    assert result.exit_code == 2
    assert text in result.stderr


def test_a_number_that_is_none_is_reported_with_status_2(run: Run, sandbox_url: str) -> None:
    result = dial(run, sandbox_url, "0800", "--json")
    assert result.exit_code == 2
    good, bad = json.loads(result.stdout)
    assert good["outcome"] == "answered"
    assert "country code" in bad["error"]


def test_dialling_without_an_account_says_what_is_missing(
    run: Run, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDIASERVER_AUTH_TOKEN")
    result = dial(run, sandbox_url)
    assert result.exit_code == 2
    assert "auth_token is not set" in result.stderr


def test_setting_up_a_number_needs_the_servers_url(run: Run, sandbox_url: str) -> None:
    result = run("setup-number", "+14155550100", "--api-url", sandbox_url)
    assert result.exit_code == 2
    assert "--public-url is not set" in result.stderr


def test_a_number_is_set_up_once(run: Run, sandbox_url: str) -> None:
    arguments = ["setup-number", "+14155550100", "--api-url", sandbox_url]
    arguments += ["--public-url", "https://voice.example.com"]
    looked = run(*arguments, "--dry-run")
    first, second = run(*arguments), run(*arguments)
    assert [each.exit_code for each in (looked, first, second)] == [0, 0, 0], first.stderr
    assert "would change" in looked.stdout
    assert "is answered at https://voice.example.com/answer" in first.stdout
    assert "nothing to change" in second.stdout


def test_dial_finds_a_handler_in_the_working_directory(
    run: Run, sandbox_url: str, tmp_path: Path
) -> None:
    (tmp_path / "dialled_here.py").write_text("async def agent(stream): ...\n")
    result = dial(run, sandbox_url, "--machine", "ignore", handler="dialled_here:agents")
    assert "'dialled_here' has no 'agents'; did you mean 'agent'?" in result.stderr
