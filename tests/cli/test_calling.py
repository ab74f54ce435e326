import asyncio
import contextlib
import json
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from typing import Any

import numpy as np
import pytest
import trustme
from typer.testing import Result
from websockets.asyncio.server import ServerConnection, serve

from audiocodecs import MULAW_8K, read_wav, write_wav
from mediaserver.protocol import Media, PlayAudio, decode_event, encode_command
from mediaserver.sandbox import CallOptions, LoadReport, Phone, Spread
from mediaserver.stream import Stream
from mediaserver.testing import joined, run_virtual
from tests.cli.processes import AUTH_TOKEN, Run


@contextlib.contextmanager
def answered(
    handler: Callable[[ServerConnection], Awaitable[None]], ssl: SSLContext | None = None
) -> Iterator[str]:
    """Serve WebSockets by a coroutine function, in a thread, and give the URL."""

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, compression=None, ssl=ssl) as server:
            over = asyncio.Event()
            port = next(iter(server.sockets)).getsockname()[1]
            begun.set_result((asyncio.get_running_loop(), over, port))
            await over.wait()

    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    loop, over, port = begun.result(timeout=60)
    try:
        yield f"{'wss' if ssl else 'ws'}://127.0.0.1:{port}/stream"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(timeout=60)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A WAV file with 0.3 s of a tone."""
    time = np.arange(2_400) / 8_000
    path = tmp_path / "in.wav"
    write_wav(path, (8_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16), 8_000)
    return path


def test_a_call_is_made_recorded_and_reported(run: Run, echo_url: str, tone: Path) -> None:
    result = run("call", echo_url, "--audio", tone, "--record", "out.wav", "--silence", "0.2")
    assert result.exit_code == 0, result.stderr
    assert "stream started" in result.stdout
    assert "ended by" in result.stdout
    recording = read_wav("out.wav")
    assert recording.samples.shape[1] == 2
    assert np.abs(recording.samples[:, 1]).max() > 7_000


def test_a_call_can_be_reported_as_json(run: Run, echo_url: str, tone: Path) -> None:
    arguments = ["call", echo_url, "--audio", tone, "--silence", "0.1", "--press", "3@0.1"]
    result = run(*arguments, "--json", "--report", "report.json")
    report = json.loads(result.stdout)
    assert report["ended_by"] == "caller"
    assert [key["digit"] for key in report["keys_pressed"]] == ["3"]
    assert json.loads(Path("report.json").read_text()) == report


def test_a_call_that_is_not_taken_ends_with_status_1(run: Run, echo_url: str) -> None:
    result = run("call", echo_url + "/elsewhere")
    assert result.exit_code == 1
    assert "did not take the call (HTTP 404)" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--press", "now", "KEYS@SECONDS"),
        ("--misbehave", "sing", "unknown misbehaviour"),
        ("--format", "mp3", "mp3"),
        ("--header", "no equals", "NAME=VALUE"),
    ],
)
def test_a_bad_option_of_a_call_is_refused_with_status_2(
    run: Run, option: str, value: str, text: str
) -> None:
    result = run("call", "ws://127.0.0.1:1/", option, value)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize("command", ["call", "load"])
def test_an_audio_file_that_is_not_there_is_refused_with_status_2(
    run: Run, echo_url: str, command: str
) -> None:
    result = run(command, echo_url, "--audio", "nowhere.wav")
    assert result.exit_code == 2
    assert "nowhere.wav" in result.stderr


@pytest.mark.parametrize("option", ["--record", "--report"])
def test_a_file_that_cannot_be_written_is_refused_before_the_call(run: Run, option: str) -> None:
    result = run("call", "ws://127.0.0.1:1/", option, "nowhere/out")
    assert result.exit_code == 2
    assert "there is no folder nowhere" in result.stderr


def test_a_silence_in_mid_speech_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def halting(stream: Stream) -> None:
        for _ in range(2):
            await (await stream.play(np.full(800, 8_000, np.int16), rate=8000)).heard()
            await asyncio.sleep(0.8)

    async def call() -> Phone:
        async with joined(halting) as line:
            await line.phone.wait_closed()
            return line.phone

    phone = run_virtual(call())

    async def placed(options: CallOptions, *, watch: Callable[[Phone], object]) -> None:
        watch(phone)

    monkeypatch.setattr("mediaserver.sandbox.place_call", placed)
    figures = dict(re.findall(r"^(\w+) +(.+?) *$", run("call", "ws://any").stdout, re.M))
    assert figures["gaps"] == "0, 0 ms"
    assert re.fullmatch(r"1, 0\.8\d s, the longest 0\.8\d s", figures["pauses"])


def interrupted(*arguments: str) -> tuple[int, str, str]:
    """Return the status and the output of a command that gets Ctrl-C while its calls talk."""
    process: subprocess.Popen[str]

    async def interrupting(connection: ServerConnection) -> None:
        spoken = PlayAudio(MULAW_8K.encode(np.full(160, 8_000, np.int16)), MULAW_8K)
        frames = 0
        async for message in connection:
            frames += isinstance(decode_event(message), Media)
            await connection.send(encode_command(spoken).decode())
            if frames == 10:
                process.send_signal(signal.SIGINT)

    with answered(interrupting) as url:
        process = subprocess.Popen(
            (
                sys.executable,
                "-m",
                "mediaserver",
                *(url if each == "URL" else each for each in arguments),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_ctrl_c_ends_a_call_and_keeps_what_was_heard() -> None:
    status, out, err = interrupted(
        *("call", "URL", "--silence", "60", "--record", "out.wav", "--report", "report.json")
    )
    assert (status, err) == (130, "")
    assert "ended by  " in out
    assert read_wav("out.wav").samples[:, 1].any()
    assert json.loads(Path("report.json").read_text())["ended_by"] == "caller"


def test_ctrl_c_before_the_call_is_taken_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(options: CallOptions, *, watch: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mediaserver.sandbox.place_call", interrupted)
    result = run("call", "ws://127.0.0.1:1/")
    assert result.exit_code == 130
    assert "before the call was taken" in result.stderr


def test_ctrl_c_ends_a_load_and_its_report_is_printed() -> None:
    status, out, err = interrupted(
        *("load", "URL", "--json", "--calls", "3", "--ramp", "0.1", "--seconds", "60")
    )
    report = json.loads(out)
    assert (status, report["interrupted"], report["made"]) == (130, True, 1)
    assert "1 live" in err or "1 finished" in err


def report_of(monkeypatch: pytest.MonkeyPatch, run: Run, *options: str, **changes: Any) -> Result:
    """Run a load that comes to a given report."""

    async def loaded(url: str, **options: Any) -> LoadReport:
        return replace(LoadReport(url, "", 3, 1.0, 1.0, made=3), **changes)

    monkeypatch.setattr("mediaserver.sandbox.load", loaded)
    return run("load", "ws://127.0.0.1:1/", *options)


def test_a_load_tells_what_its_callers_missed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = report_of(monkeypatch, run, unanswered=20, uninterrupted=10, mute=3)
    assert result.exit_code == 0
    for text in ("20 unanswered", "10 talked on", "in 3 calls"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("busy", "late", "limit"),
    [(0.9, 0.5, "took 90% of a core: it may"), (0.1, 0.5, "late: this machine may")],
)
def test_a_load_names_what_may_limit_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, busy: float, late: float, limit: str
) -> None:
    result = report_of(
        monkeypatch, run, generator_busy=busy, sender_lateness=Spread(3, late, late, late)
    )
    assert limit in re.sub(" +", " ", result.stdout)
    assert result.stdout.count(" may ") == 1


@pytest.mark.parametrize(
    ("thresholds", "status"),
    [(["unanswered<=20"], 0), (["unanswered<=20", "replies.p99<1"], 1), (["unanswered==0"], 1)],
)
def test_thresholds_set_the_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, thresholds: list[str], status: int
) -> None:
    options = [text for each in thresholds for text in ("--threshold", each)]
    result = report_of(monkeypatch, run, *options, unanswered=20)
    assert result.exit_code == status
    assert result.stderr.count("FAILS") == status


@pytest.mark.parametrize("command", ["call", "load"])
def test_the_figures_of_thresholds_are_listed(run: Run, command: str) -> None:
    result = run(command, "ws://127.0.0.1:1/", "--threshold", "help")
    assert result.exit_code == 0
    assert "replies.p99" in result.stdout.splitlines()


@pytest.mark.parametrize("command", ["call", "load"])
@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ws://x/", ["--threshold", "reply.p99<1"], "did you mean replies.p99"),
        ("http://x/", [], "is not a WebSocket address"),
        ("ws://x/", ["--http-header", "Host"], "are written NAME=VALUE"),
        ("ws://x/", ["--http-header", "upgrade=h2c"], "own handshake"),
        ("ws://x/", ["--http-header", "A=\n"], "printable ASCII"),
        ("ws://x/", ["--insecure"], "are for wss:// addresses"),
        ("wss://x/", ["--cafile", "nowhere.pem"], "nowhere.pem"),
        ("wss://x/", ["--cafile", "empty.pem"], "no certificates"),
        ("wss://x/", ["--insecure", "--cafile", "empty.pem"], "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_before_a_call(
    run: Run, command: str, url: str, options: list[str], message: str
) -> None:
    Path("empty.pem").touch()
    result = run(command, url, *options)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize("command", ["call", "load"])
def test_http_headers_are_sent(run: Run, command: str) -> None:
    headers: list[str] = []

    async def noting(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers.append(connection.request.headers["Authorization"])
        await connection.close()

    with answered(noting) as url:
        run(command, url, "--http-header", "Authorization=Basic dTpw=")
    assert set(headers) == {"Basic dTpw="}


@pytest.mark.parametrize("command", ["call", "load"])
def test_a_certificate_of_a_test_server_can_be_trusted(run: Run, command: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path("ca.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)

    async def hanging_up(connection: ServerConnection) -> None:
        await connection.wait_closed()

    with answered(hanging_up, ssl=server) as url:
        results = [
            run(command, url, "--seconds", "0.2", *options)
            for options in ([], ["--cafile", "ca.pem"], ["--insecure"])
        ]
    assert [result.exit_code for result in results] == [1, 0, 0]
    said = "".join((results[0].stderr + results[0].stdout).split())  # a table breaks its lines
    # Where the line breaks, its count stands between, and the port has 4 or 5 digits.
    assert "certificateisnottrusted" in said.replace("10calls", "")


def test_misbehaviours_are_listed(run: Run) -> None:
    result = run("call", "ws://127.0.0.1:1/", "--misbehave", "help")
    assert result.exit_code == 0
    assert "garbage" in result.stdout


def test_many_calls_are_made_and_reported(run: Run, echo_url: str, tone: Path) -> None:
    result = run("load", echo_url, "--calls", 3, "--seconds", 0.5, "--audio", tone)
    assert result.exit_code == 0
    assert "3 of 3 taken" in result.stdout


def test_many_calls_can_be_reported_as_json(run: Run, echo_url: str) -> None:
    result = run("load", echo_url, "--calls", 2, "--seconds", 0.2, "--json")
    report = json.loads(result.stdout)
    assert report["made"] == 2
    assert report["ok"]


def test_calls_that_are_not_taken_end_with_status_1(run: Run, echo_url: str) -> None:
    result = run("load", echo_url.replace("/stream", "/nowhere"), "--calls", 2, "--seconds", 0.2)
    assert result.exit_code == 1
    assert "404" in result.stdout


def test_a_load_of_no_known_format_is_refused(run: Run, echo_url: str) -> None:
    result = run("load", echo_url, "--format", "audio/opus")
    assert result.exit_code == 2
    assert "audio/opus" in result.stderr


@pytest.mark.parametrize("command", ["call", "load"])
def test_a_signed_call_is_taken_and_an_unsigned_one_is_not(
    run: Run, strict_url: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", AUTH_TOKEN)
    signed = run(command, strict_url, "--seconds", "0.2")
    assert signed.exit_code == 0, signed.stderr + signed.stdout
    monkeypatch.delenv("MEDIASERVER_AUTH_TOKEN")
    unsigned = run(command, strict_url, "--seconds", "0.2")
    assert unsigned.exit_code == 1
    assert "403" in unsigned.stderr + unsigned.stdout
