import json
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cli.admin_listener import AdminListener
from tests.cli.processes import Run


class Operated(AdminListener):
    """An admin listener that answers as it is told."""

    def __init__(self, path: Path) -> None:
        self.status = 200
        self.answer = {"status": "done", "detail": "new workers take the calls"}
        super().__init__(path, lambda _: (self.status, json.dumps(self.answer).encode()))


@pytest.fixture
def operated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operated]:
    """The admin listener of a server with workers on port 9000."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    # The path of a Unix socket is short, and those of pytest's folders may not be.
    with TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        folder = Path(runtime, "mediaserver")
        folder.mkdir(mode=0o700)
        operated = Operated(folder / "admin-9000.sock")
        yield operated
        operated.close()


def test_a_reload_is_asked_for_and_its_outcome_is_printed(run: Run, operated: Operated) -> None:
    result = run("reload", "--port", 9000)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "new workers take the calls\n"
    assert operated.asked == ["/reload"]


def test_the_server_is_found_by_its_file_of_settings(
    run: Run, operated: Operated, tmp_path: Path
) -> None:
    (tmp_path / "server.toml").write_text(f'admin = "{operated.path}"\nhandler = "a:B"\n')
    assert run("reload", "--config", "server.toml").exit_code == 0


def test_a_reload_that_failed_is_told(run: Run, operated: Operated) -> None:
    operated.status = 502
    operated.answer = {
        "error": "the new workers cannot start: my_agent.py:3: SyntaxError",
        "hint": "the old ones go on",
    }
    result = run("reload", "--admin", operated.path)
    assert result.exit_code == 1
    assert "SyntaxError" in result.stderr


def test_a_server_that_does_not_run_is_told(run: Run) -> None:
    with socket.socket() as taken:
        # Bound, so that nobody else listens there.
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("reload", "--admin", address)
    assert result.exit_code == 1
    assert f"no server can be reached at {address}" in result.stderr


def test_a_wrong_address_is_told(run: Run) -> None:
    result = run("reload", "--port", "many")
    assert result.exit_code == 2
    assert "--port" in result.stderr
