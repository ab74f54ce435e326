import builtins
from pathlib import Path
from typing import Any

import pytest

from mediaserver.server.process.listening import BindError
from tests.cli.processes import Run


pytest.importorskip("watchfiles")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """With which options the command was run, in place of running it."""
    given: list[Any] = []

    async def run_dev(options: Any, *, opened: Any, ready: Any) -> None:
        given.append(options)
        opened("http://127.0.0.1:4711/")
        ready("http://127.0.0.1:4711/")

    def open_browser(url: str) -> bool:
        given.append(url)
        return True

    monkeypatch.setattr("mediaserver.dev.running.run_dev", run_dev)
    monkeypatch.setattr("mediaserver.dev.running.open_browser", open_browser)
    return given


def test_it_says_where_the_page_is_and_opens_it(run: Run, ran: list[Any]) -> None:
    result = run("dev", "my_agent:Agent")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        "The page is at http://127.0.0.1:4711/\nCtrl-C ends it.\n"
        "The agent is ready: http://127.0.0.1:4711/\n"
    )
    options, url = ran
    assert (options.specs, options.port) == (("my_agent:Agent",), 8090)
    assert url == "http://127.0.0.1:4711/"


def test_the_page_can_be_left_to_be_opened(run: Run, ran: list[Any]) -> None:
    result = run("dev", "a:A", "/b=a:B", "--no-browser", "--port", 0, "--captures", "kept")
    assert "http://127.0.0.1:4711/ (open it in a browser)" in result.stdout
    (options,) = ran
    assert (options.specs, options.port) == (("a:A", "/b=a:B"), 0)
    assert options.captures == Path("kept")
    assert options.paths == ["/b"]


def test_without_a_handler_it_does_not_start(
    run: Run, ran: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("dev")
    assert result.exit_code == 2
    assert result.stderr.startswith("mediaserver: no handler is named: give one as")
    Path("mediaserver.toml").write_text('handler = ["my_agent:Agent"]\n')
    assert run("dev", "--no-browser").exit_code == 0
    # What can be mended while the page is open is told there.
    Path("mediaserver.toml").write_text("oops")
    assert run("dev", "--no-browser").exit_code == 0
    assert len(ran) == 2


def test_a_port_that_is_taken_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_dev(options: Any, *, opened: Any, ready: Any) -> None:
        raise BindError("cannot listen on 127.0.0.1:8090: another process has this port")

    monkeypatch.setattr("mediaserver.dev.running.run_dev", run_dev)
    result = run("dev", "a:A")
    assert result.exit_code == 1
    assert result.stderr == (
        "mediaserver: cannot listen on 127.0.0.1:8090: another process has this port\n"
    )


def test_an_unknown_level_of_logs_is_an_error(run: Run, ran: list[Any]) -> None:
    result = run("dev", "a:A", "--log-level", "loud")
    assert result.exit_code == 2
    assert "--log-level is one of debug, info" in result.stderr


def test_without_its_packages_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "watchfiles":
            raise ModuleNotFoundError(name="watchfiles")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run("dev", "a:A")
    assert result.exit_code == 1
    assert result.stderr == "mediaserver: dev needs watchfiles: pip install '.[dev]'\n"
