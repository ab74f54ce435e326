import re
import socket
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from mediaserver.cli import serving
from mediaserver.routes import Routes
from mediaserver.server.process.reload import ReloadError
from mediaserver.server.workers.channel import channel_pair, receive_message, send_message
from mediaserver.server.workers.messages import Orders, StartFailed
from mediaserver.server.workers.table import WorkerTable
from mediaserver.settings import Settings, flag_of
from tests.cli.processes import Run


Served: TypeAlias = list[tuple[Settings, Routes]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """What `serve` would have run, in place of running it."""
    calls: Served = []

    def serve(settings: Settings, routes: Routes) -> int:
        calls.append((settings, routes))
        return 0

    monkeypatch.setattr("mediaserver.server.process.daemon.run_server", serve)
    return calls


def test_every_setting_is_a_flag(run: Run) -> None:
    # Styled where CI asks for colours.
    text = re.sub(r"\x1b\[[\d;]*m", "", run("serve", "--help").stdout)
    for name in Settings.model_fields:
        if name != "handler":
            assert flag_of(name) in text


def test_flags_become_settings(run: Run, served: Served) -> None:
    result = run(
        "serve", "mediaserver.agents:Echo", "--port", 9000, "--max-calls", 7, "--access-log"
    )
    assert result.exit_code == 0, result.stderr
    settings, routes = served[0]
    assert (settings.port, settings.max_calls, settings.access_log) == (9000, 7, True)
    assert [route.name for route in routes.routes] == ["Echo"]


def test_several_handlers_are_routed_by_path_and_number(run: Run, served: Served) -> None:
    run("serve", "/sales=mediaserver.agents:Echo", "+14155550100=mediaserver.agents:Echo")
    _, routes = served[0]
    assert routes.match("/sales") is not None
    assert routes.match("/stream") is None
    assert routes.match("/stream", "14155550100") is not None


def test_the_handler_may_stand_in_the_file(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('handler = ["mediaserver.agents:Echo"]\npath = "/x"\n')
    run("serve", "--config", "other.toml")
    assert served[0][1].match("/x") is not None


def test_a_handler_in_the_working_directory_is_found(
    run: Run, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "my_agent_here.py").write_text("async def agent(stream): ...\n")
    result = run("serve", "my_agent_here:agent")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("spec", ["one.py", "one.py:agent", "./one:agent", "one", "./one.py"])
def test_a_handler_may_be_named_by_its_file(
    run: Run, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.delitem(sys.modules, "one", raising=False)
    (tmp_path / "one.py").write_text("async def agent(stream): ...\n")
    result = run("serve", spec)
    assert result.exit_code == 0, result.stderr
    assert [route.name for route in served[0][1].routes] == ["agent"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no handler is named: give one as package.module:Name"),
        (["mediaserver.agents"], "has several handlers: name one, as in mediaserver.agents:"),
        (["no_such_file.py"], "there is no file 'no_such_file.py'"),
        (["no_such_module:Echo"], "no module 'no_such_module'"),
        (["mediaserver.agents:Ecko"], "did you mean 'Echo'?"),
        (["json:dumps"], "not async"),
        (["soon=mediaserver.agents:Echo"], "neither a path"),
        (["mediaserver.agents:Echo", "--port", "many"], "--port: 'many' must be a valid integer"),
        (["mediaserver.agents:Echo", "--config", "no.toml"], "no.toml: there is no such file"),
        (["mediaserver.agents:Echo", "--ssl-certfile", "no.pem"], "no.pem: No such file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_status_2(
    run: Run, arguments: list[str], text: str
) -> None:
    result = run("serve", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stdout == ""


def test_each_problem_has_a_line(run: Run) -> None:
    result = run("serve", "mediaserver.agents:Echo", "--port", "x", "--max-calls", "0")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("mediaserver: --") for line in lines)


def test_a_port_in_use_ends_with_status_2(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "mediaserver.agents:Echo", "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "another process has this port" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_status_of_the_server_is_that_of_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.server.process.daemon.run_server", lambda settings, routes: 1)
    assert run("serve", "mediaserver.agents:Echo").exit_code == 1


def test_reload_runs_the_same_command_without_the_flag(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(
        "mediaserver.server.process.reload.run_reloading",
        lambda command, folder: seen.append(command),
    )
    monkeypatch.setattr(sys, "argv", ["mediaserver", "serve", "--reload", "a:B", "--port", "1"])
    assert run("serve", "--reload", "a:B", "--port", "1").exit_code == 0
    assert seen == [
        [sys.executable, "-m", "mediaserver", "serve", "a:B", "--port", "1", "--drain-timeout", "0"]
    ]


def test_reload_without_its_package_ends_with_status_2(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(command: list[str], folder: Path) -> None:
        raise ReloadError("needs watchfiles")

    monkeypatch.setattr("mediaserver.server.process.reload.run_reloading", missing)
    result = run("serve", "--reload", "a:B")
    assert result.exit_code == 2
    assert "needs watchfiles" in result.stderr


def test_a_check_says_what_can_be_served(run: Run, served: Served) -> None:
    result = run("serve", "--check", "mediaserver.agents:Echo", "--path", "/x")
    assert (result.exit_code, result.stdout) == (0, "Echo can be served at /x\n")
    assert served == []


def test_a_check_names_variables_that_are_no_settings(
    run: Run, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIASERVER_PROT", "1")
    result = run("serve", "--check", "mediaserver.agents:Echo")
    assert result.exit_code == 0
    assert result.stderr == (
        "mediaserver: MEDIASERVER_PROT is not a setting; did you mean MEDIASERVER_PORT?\n"
    )


def test_a_check_lists_what_is_wrong(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "unchecked", raising=False)
    (tmp_path / "unchecked.py").write_text(
        "from mediaserver import Handler\n"
        "class Agent(Handler):\n"
        "    def __init__(self):\n"
        "        open('nosuch.txt')\n"
    )
    result = run("serve", "--check", "unchecked.py")
    assert result.exit_code == 2
    assert result.stderr.startswith("mediaserver: unchecked.py:4: FileNotFoundError: ")
    assert result.stderr.count("\n") == 1


def test_workers_are_supervised(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    supervised = []

    def supervise(settings: Settings, command: list[str]) -> int:
        supervised.append((settings.workers, command))
        return 0

    monkeypatch.setattr("mediaserver.server.workers.running.run_supervisor", supervise)
    monkeypatch.setattr(sys, "argv", ["mediaserver", "serve", "no.such:Handler"])
    # Its workers import the handler.
    result = run("serve", "no.such:Handler", "--workers", 2)
    assert result.exit_code == 0, result.stderr
    command = [sys.executable, "-m", "mediaserver", "serve", "no.such:Handler"]
    assert supervised == [(2, command)]


def test_a_supervisor_needs_the_name_of_a_handler(run: Run) -> None:
    result = run("serve", "--workers", 2)
    assert result.exit_code == 2
    assert "no handler is named" in result.stderr


def test_a_check_needs_no_workers(run: Run) -> None:
    result = run("serve", "mediaserver.agents:Echo", "--workers", 2, "--check")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "Echo can be served at /stream\n"


def test_workers_are_not_for_development(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mediaserver.toml").write_text("workers = 2\n")
    result = run("serve", "mediaserver.agents:Echo", "--reload")
    assert result.exit_code == 2
    assert "--workers 0" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("mediaserver.agents:Nobody",), "Nobody"),
        (("mediaserver.agents:Echo", "--port", "99999"), "--port"),
        ((), "no handler is named"),
    ],
)
def test_a_worker_tells_its_supervisor_what_is_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str
) -> None:
    table = WorkerTable()
    ours, theirs = channel_pair()
    send_message(ours, Orders(1, "3f9a/1.1"), table.descriptor)
    monkeypatch.setenv(serving.CHANNEL_VARIABLE, str(theirs.detach()))
    result = run("serve", *arguments)
    assert result.exit_code == 2
    assert result.stderr == ""
    message, _ = receive_message(ours)
    assert isinstance(message, StartFailed)
    assert reason in message.reason
    assert message.status == 2
    ours.close()
    table.close()
