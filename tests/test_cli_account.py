"""``dial``, ``setup-number`` and ``sandbox``, against a sandbox that is a process of its own."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mediaserver.cli import app


AUTH_ID = "MAABCDEFGHIJKLMNOPQR"
AUTH_TOKEN = "a token for these tests"


@pytest.fixture(scope="module")
def sandbox_url():
    command = [sys.executable, "-m", "mediaserver", "sandbox", "--port", "0"]
    command += ["--auth-id", AUTH_ID, "--auth-token", AUTH_TOKEN, "--phone", "say hello; hang up"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            printed = {}
            for line in process.stdout:
                name, _, value = line.decode().strip().partition("=")
                printed[name] = value
                if name.endswith("_URL"):
                    break
            assert {AUTH_ID, AUTH_TOKEN} <= set(printed.values())
            yield value
        finally:
            process.terminate()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDIASERVER_AUTH_ID", AUTH_ID)
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", AUTH_TOKEN)

    def invoke(*arguments):
        return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(each) for each in arguments])

    return invoke


def dial(run, sandbox_url, *arguments, handler="mediaserver.agents:Echo"):
    return run(
        "dial", "+14155550123", "--from", "+14155550100", "--handler", handler,
        "--api-url", sandbox_url, "--port", 18_099, "--public-url", "http://127.0.0.1:18099",
        *arguments,
    )  # fmt: skip


def test_a_call_is_placed_handled_and_reported(run, sandbox_url):
    result = dial(run, sandbox_url, "--json")
    assert result.exit_code == 0, result.stderr
    (report,) = json.loads(result.stdout)
    assert report["outcome"] == "answered"
    assert report["handled"]
    assert report["ok"]


@pytest.mark.parametrize(
    ("arguments", "handler", "text"),
    [
        (["--machine", "dance"], "mediaserver.agents:Echo", "ignore, detect, hangup"),
        ([], "nowhere:Nothing", "there is no module 'nowhere'"),
        ([], "mediaserver:Route", "not a subclass of mediaserver.Handler"),
        (["--config", "missing.toml"], "mediaserver.agents:Echo", "missing.toml"),
    ],
)
def test_what_cannot_be_dialled_is_refused_with_status_2(
    run, sandbox_url, arguments, handler, text
):
    result = dial(run, sandbox_url, *arguments, handler=handler)
    assert result.exit_code == 2
    assert text in result.stderr


def test_a_number_that_is_none_is_reported_with_status_2(run, sandbox_url):
    result = dial(run, sandbox_url, "0800", "--json")
    assert result.exit_code == 2
    good, bad = json.loads(result.stdout)
    assert good["outcome"] == "answered"
    assert "country code" in bad["error"]


def test_dialling_without_an_account_says_what_is_missing(run, sandbox_url, monkeypatch):
    monkeypatch.delenv("MEDIASERVER_AUTH_TOKEN")
    result = dial(run, sandbox_url)
    assert result.exit_code == 2
    assert "auth_token is not set" in result.stderr


def test_setting_up_a_number_needs_the_servers_url(run, sandbox_url):
    result = run("setup-number", "+14155550100", "--api-url", sandbox_url)
    assert result.exit_code == 2
    assert "--public-url is not set" in result.stderr


def test_a_number_is_set_up_once(run, sandbox_url):
    arguments = ["setup-number", "+14155550100", "--api-url", sandbox_url]
    arguments += ["--public-url", "https://voice.example.com"]
    looked = run(*arguments, "--dry-run")
    first, second = run(*arguments), run(*arguments)
    assert [each.exit_code for each in (looked, first, second)] == [0, 0, 0], first.stderr
    assert "would change" in looked.stdout
    assert "is answered at https://voice.example.com/answer" in first.stdout
    assert "nothing to change" in second.stdout


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--auth-id", "me", "an auth id is MA or SA"),
        ("--callbacks", "C", "A or B"),
        ("--log-level", "loud", "debug, info"),
        ("--phone", "sing a song", "sing"),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused(run, option, value, text):
    result = run("sandbox", "--port", 0, option, value)
    assert result.exit_code in (1, 2)
    assert text in result.stderr


@pytest.fixture
def strict_url(monkeypatch, tmp_path):
    """The stream of a server that takes only what Plivo has signed."""
    command = [sys.executable, "-m", "mediaserver", "serve", "mediaserver.agents:Echo"]
    command += ["--port", "0", "--log-format", "json"]
    environment = os.environ | {
        "MEDIASERVER_AUTH_ID": AUTH_ID,
        "MEDIASERVER_AUTH_TOKEN": AUTH_TOKEN,
    }
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        try:
            for line in process.stderr:
                entry = json.loads(line)
                if entry["event"] == "route":
                    break
            yield entry["stream"]
        finally:
            process.terminate()


@pytest.mark.parametrize("command", ["call", "load"])
def test_a_signed_call_is_taken_and_an_unsigned_one_is_not(run, strict_url, command, monkeypatch):
    signed = run(command, strict_url, "--seconds", "0.2")
    assert signed.exit_code == 0, signed.stderr + signed.stdout
    monkeypatch.delenv("MEDIASERVER_AUTH_TOKEN")
    unsigned = run(command, strict_url, "--seconds", "0.2")
    assert unsigned.exit_code == 1
    assert "403" in unsigned.stderr + unsigned.stdout
