"""Flags of ``mediaserver sandbox``, up to the options that they make."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

from mediaserver.cli import app
from mediaserver.sandbox.calls.diary import CallDiary
from mediaserver.sandbox.platform import SandboxOptions
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from tests.cli.processes import Run


Served: TypeAlias = Callable[..., tuple[list[SandboxOptions], Result]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """Run the command with nothing to serve; return its options, and its result."""

    def run(*arguments: str) -> tuple[list[SandboxOptions], Result]:
        seen: list[SandboxOptions] = []

        async def serve(
            options: SandboxOptions, *, ready: Callable[[str], object], call_ended: object
        ) -> None:
            seen.append(options)
            ready("http://127.0.0.1:9000")

        monkeypatch.setattr("mediaserver.sandbox.platform.serve_sandbox", serve)
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["sandbox", *arguments])
        return seen, result

    return run


def test_every_flag_has_its_option(served: Served) -> None:
    (options,), _ = served(
        *("--extra-headers", "documented", "--calls-per-second", "10", "--concurrency", "3"),
        *("--rate-limit", "50", "--stream-rate", "0.006", "--recordings", "heard"),
        *("--misbehave", "drop@3", "--misbehave", "garbage", "--transfers", "at-once"),
        *("--rounded-bill-duration", "text"),
    )

    assert options.exchange.extra_headers_style == "documented"
    assert (options.exchange.calls_per_second, options.exchange.concurrency) == (10, 3)
    assert options.exchange.recordings == Path("heard")
    assert options.exchange.misbehaviour == Misbehaviour(drop=3, garbage=True)
    assert options.exchange.transfers == "at-once"
    assert options.exchange.rounded_bill_duration == "text"
    assert options.requests == 50
    assert options.rates.stream.rate == "0.00600"


def test_without_flags_it_is_as_the_options_are(served: Served) -> None:
    (options,), _ = served()

    assert options == SandboxOptions(account=options.account)


def test_the_variables_printed_can_be_pasted_into_a_shell(served: Served) -> None:
    _, result = served("--auth-token", "token")

    first, *lines = result.stdout.splitlines()
    assert first.startswith("# ")
    names = [line.partition("=")[0] for line in lines]
    assert names[:3] == ["PLIVO_AUTH_ID", "PLIVO_AUTH_TOKEN", "PLIVO_BASE_URL"]
    assert names[3:] == [f"MEDIASERVER_{each}" for each in ("AUTH_ID", "AUTH_TOKEN", "API_URL")]


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--extra-headers", "xml", "live, documented, json"),
        ("--calls-per-second", "0", "more than 0, not 0"),
        ("--transfers", "soon", "wait or at-once, not 'soon'"),
        ("--rounded-bill-duration", "float", "number or text, not 'float'"),
        ("--port", "65536", "less than or equal to 65535"),
        ("--concurrency", "0", "equal to 1"),
        ("--rate-limit", "0", "equal to 1"),
        ("--misbehave", "sulk", "unknown misbehaviour 'sulk'"),
        ("--stream-rate", "cheap", "an amount in dollars, not 'cheap'"),
        ("--stream-rate", "-1", "0 or more dollars"),
        ("--stream-rate", "nan", "0 or more dollars"),
    ],
)
def test_what_cannot_be_is_refused(served: Served, flag: str, value: str, says: str) -> None:
    seen, result = served(flag, value)

    assert (result.exit_code, seen) == (2, [])
    assert says in result.stderr


@pytest.fixture
def level() -> Iterator[None]:
    """Put the level of the sandbox's log back, which a flag may raise."""
    yield
    logging.getLogger("mediaserver.sandbox.calls").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_leaves_what_goes_wrong(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    diary = CallDiary("c1", lambda: 0.0)

    async def serve(
        options: SandboxOptions,
        *,
        ready: object,
        call_ended: Callable[[SimpleNamespace], object] | None,
    ) -> None:
        diary.tell("call_answered")
        diary.tell("error", "no XML", level="warning")
        if call_ended is not None:
            call_ended(SimpleNamespace(diary=diary))

    monkeypatch.setattr("mediaserver.sandbox.platform.serve_sandbox", serve)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["sandbox", *["--quiet"] * quiet])

    assert "no XML" in result.stderr
    assert ("call answered" in result.stderr) is not quiet
    assert ("0.00 s  call answered" in result.stderr) is not quiet
    assert result.stdout == ""


def test_misbehaviours_are_listed_as_for_a_call(served: Served) -> None:
    seen, result = served("--misbehave", "help")

    assert (result.exit_code, seen) == (0, [])
    of_a_call = CliRunner().invoke(app, ["call", "ws://x/", "--misbehave", "help"])
    assert result.stdout == of_a_call.stdout


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--auth-id", "me", "an auth id must be MA or SA"),
        ("--callbacks", "C", "A or B"),
        ("--log-level", "loud", "debug, info"),
        ("--phone", "sing a song", "sing"),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused(run: Run, option: str, value: str, text: str) -> None:
    result = run("sandbox", "--port", 0, option, value)
    assert result.exit_code in (1, 2)
    assert text in result.stderr
