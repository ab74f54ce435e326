"""What the command does around its commands."""

import io
import sys
from collections.abc import Callable

import pytest
import typer

from mediaserver import cli


Main = Callable[..., tuple[int, str]]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """Run the command as a process would, and return its status and what it wrote to stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mediaserver", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def raises(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    def make(error: BaseException) -> None:
        def app(**options: object) -> None:
            raise error

        monkeypatch.setattr(cli, "app", app)

    return make


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["serve", "--proxy-headers"],
            "Name the proxies with --trusted-proxies.",
        ),
        (
            ["serve", "--hots", "x"],
            "No such option: --hots (Possible options: --host, --port).",
        ),
        (["dance"], "No such command 'dance'. Did you mean 'trace'? See "),
        (["quux"], "No such command 'quux'. See "),
        (["call"], "See "),
        (["load", "ws://127.0.0.1", "--calls", "many"], "--calls"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(
    main: Main, arguments: list[str], text: str
) -> None:
    status, said = main(*arguments)
    assert status == 2
    assert text in said
    assert said.startswith("mediaserver: ")
    assert said.count("\n") == 1


def test_without_arguments_there_is_help(main: Main) -> None:
    assert main()[0] == 2


def test_a_command_that_works_ends_with_0(main: Main) -> None:
    assert main("version") == (0, "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_quiet(
    main: Main, raises: Callable[[BaseException], None], error: BaseException
) -> None:
    raises(error)
    assert main("serve") == (130, "")


def test_a_fault_is_told_without_a_traceback(
    main: Main, raises: Callable[[BaseException], None]
) -> None:
    raises(RuntimeError("no sound"))
    status, said = main("serve")
    first, second = said.splitlines()
    assert status == 1
    assert first.endswith(": RuntimeError: no sound")
    assert "--traceback" in second


def test_a_traceback_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, raises: Callable[[BaseException], None]
) -> None:
    raises(RuntimeError("no sound"))
    monkeypatch.setattr(sys, "argv", ["mediaserver", "--traceback", "serve"])
    with pytest.raises(RuntimeError, match="no sound"):
        cli.main()


def test_an_encoding_that_lacks_a_character_escapes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr(cli, "app", lambda **_: print("one…"))
    with pytest.raises(SystemExit):
        cli.main()
    sys.stdout.flush()
    assert written.getvalue() == rb"one\u2026" + b"\n"
