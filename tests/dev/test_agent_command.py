from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mediaserver.cli.serving import serve_command
from mediaserver.dev.agent_command import agent_command, stream_paths, watched_folders
from mediaserver.routes import Routes
from mediaserver.settings import Settings


def served(monkeypatch: pytest.MonkeyPatch, command: list[str], **environment: str) -> Settings:
    """Return the settings with which the command would serve."""
    found: list[Settings] = []

    def serve(settings: Settings, routes: Routes) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr("mediaserver.server.process.daemon.run_server", serve)
    app = typer.Typer()
    app.command()(serve_command)
    result = CliRunner(env=environment).invoke(app, command[4:])
    assert result.exit_code == 0, result.output
    return found[0]


def command_of(*specs: str, config: Path | None = None) -> list[str]:
    return agent_command(
        specs, port=4000, admin=Path("/tmp/a/admin.sock"), captures=Path("/tmp/a/c"), config=config
    )


def test_the_agent_is_served_on_loopback_and_shows_its_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = served(monkeypatch, command_of("mediaserver.agents:Echo"))
    assert (settings.host, settings.port) == ("127.0.0.1", 4000)
    assert settings.public_url == "http://127.0.0.1:4000"
    assert settings.admin_address == Path("/tmp/a/admin.sock")
    assert settings.admin_personal_data
    assert settings.admin_listen_in
    assert settings.admin_follow_all
    assert settings.capture == Path("/tmp/a/c")


def test_what_is_for_production_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "production.toml"
    config.write_text(
        'workers = 4\nhost = "0.0.0.0"\nredis = "redis://example.com/0"\nrecords = "on"\n'
        'node_address = "10.0.0.1:8000"\nrecords_webhook = "https://example.com/ended"\n'
        'records_prices = "prices.toml"\nstatus_callback_url = "https://example.com/status"\n'
        'ssl_certfile = "a.pem"\nssl_keyfile = "a.key"\nmax_calls = 7\ntraces = true\n'
        'capture_share = 0\ncapture_redact = ["caller-audio", "words"]\n'
    )
    command = command_of("mediaserver.agents:Echo", config=config)
    settings = served(monkeypatch, command, MEDIASERVER_PUBLIC_URL="https://voice.example.com")
    assert (settings.workers, settings.host, settings.tls) == (0, "127.0.0.1", False)
    assert settings.redis is None
    assert settings.records is None
    assert settings.status_callback_url is None
    assert settings.public_url == "http://127.0.0.1:4000"
    assert not settings.traces
    assert (settings.capture_share, settings.capture_redact) == (1, ())
    assert settings.max_calls == 7


def test_handlers_may_have_a_path_each() -> None:
    specs = ["/sales=shop:Sales", "+14155550100=shop:Support", "shop.py:Agent", "/b=c.py"]
    assert stream_paths(specs) == ["/sales", "/b"]


def test_the_working_folder_is_watched(tmp_path: Path) -> None:
    for specs in ([], ["shop:Agent"], ["/sales=shop.calls:Sales"], ["agents/shop.py:Agent"]):
        (tmp_path / "agents").mkdir(exist_ok=True)
        assert watched_folders(specs, tmp_path) == [tmp_path]


def test_a_file_elsewhere_is_watched_as_well(tmp_path: Path) -> None:
    elsewhere, working = tmp_path / "elsewhere", tmp_path / "working"
    elsewhere.mkdir()
    working.mkdir()
    for spec in (f"{elsewhere}/shop.py", "../elsewhere/shop.py:Agent", "/a=../elsewhere/shop.py"):
        assert watched_folders([spec], working) == [working, elsewhere]
    assert watched_folders([], working, elsewhere / "own.toml") == [working, elsewhere]
    assert watched_folders([], working, Path("own.toml")) == [working]
