import json
from functools import partial
from pathlib import Path

import pytest

from mediaserver.doctor import examination, plivo_account, reaching
from tests.cli.processes import AUTH_ID, AUTH_TOKEN, Run


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the doctor wait for a server on a busy machine."""
    for module in (plivo_account, reaching):
        monkeypatch.setattr(module, "_SECONDS", 60.0)
    checks = [each._replace(within=60.0) for each in examination.CHECKS]
    monkeypatch.setattr(examination, "diagnose", partial(examination.diagnose, checks=checks))


def test_what_is_wrong_is_told_with_a_remedy_and_status_1(run: Run) -> None:
    result = run("doctor", "mediaserver.agents:Echo")
    assert result.exit_code == 1
    assert "FAILED   public URL               public_url is not set" in result.stdout
    assert "to mend it: set public_url" in result.stdout
    assert "ok       handlers                 Echo at /stream" in result.stdout
    assert "skipped  Redis" in result.stdout
    assert ", 1 failed, " in result.stdout.splitlines()[-1]


def test_all_is_well_with_a_server_and_a_sandbox(
    run: Run, strict_url: str, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server knows no public URL, and goes by the Host of requests.
    monkeypatch.setenv("MEDIASERVER_AUTH_ID", AUTH_ID)
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", AUTH_TOKEN)
    url = strict_url.replace("ws://", "http://").removesuffix("/stream")
    result = run("doctor", "--json", "--public-url", url, "--api-url", sandbox_url)
    document = json.loads(result.stdout)
    statuses = {each["name"]: each["status"] for each in document["checks"]}
    assert document["ok"] is (result.exit_code == 0)
    for name in ("public URL", "webhooks", "signatures", "WebSocket", "proxy headers"):
        assert statuses[name] == "ok", result.stdout
    for name in ("clock", "credentials"):
        assert statuses[name] == "ok", result.stdout
    assert statuses["numbers"] == "skipped"
    for each in document["checks"]:
        assert (each["remedy"] is not None) is (each["status"] == "failed")
        assert each["seconds"] >= 0


def test_a_number_that_leads_nowhere_is_told(
    run: Run, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIASERVER_AUTH_ID", AUTH_ID)
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", AUTH_TOKEN)
    url = "http://127.0.0.1:9"
    result = run(
        "doctor", "--public-url", url, "--api-url", sandbox_url, "--number", "+14155550100"
    )
    assert result.exit_code == 1
    assert f"mediaserver setup-number +14155550100 --public-url {url}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--number", "many"], "--number is a phone number such as +14155550100, not 'many'"),
        (["--port", "many"], "--port"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
def test_a_wrong_argument_has_status_2(run: Run, arguments: list[str], text: str) -> None:
    result = run("doctor", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_a_variable_that_is_no_setting_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDIASERVER_PUBLIC_ULR", "https://voice.example.com")
    (tmp_path / "mediaserver.toml").write_text('handler = "nowhere:Nothing"\n')
    result = run("doctor")
    assert "MEDIASERVER_PUBLIC_ULR is not a setting" in result.stderr
    assert "there is no module 'nowhere'" in result.stdout
