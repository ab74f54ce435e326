import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from websockets.asyncio.server import serve

from audiocodecs import MULAW_8K, read_wav, write_wav
from mediaserver import __version__
from mediaserver.cli import app
from mediaserver.protocol import Media, PlayAudio, decode_event, encode_command
from mediaserver.sandbox import LoadProgress
from mediaserver.settings import Settings, flag_of


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(each) for each in arguments])

    return invoke


@pytest.fixture
def served(monkeypatch):
    """What `serve` would have run, in place of running it."""
    calls = []

    def serve(settings, routes):
        calls.append((settings, routes))
        return 0

    monkeypatch.setattr("mediaserver.server.process.daemon.run_server", serve)
    return calls


def test_version_prints_the_version(run):
    result = run("version")
    assert result.exit_code == 0
    assert result.stdout == f"{__version__}\n"


def test_python_dash_m_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "mediaserver", "version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{__version__}\n"
    assert result.stderr == ""


def test_the_command_line_loads_no_server_until_it_is_asked_to():
    code = (
        "import sys, mediaserver.cli\n"
        "print([each for each in ('uvicorn', 'websockets', 'starlette', 'matplotlib', 'structlog')"
        " if each in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


# serve


def test_every_setting_is_a_flag(run):
    # Styled where CI asks for colours.
    text = re.sub(r"\x1b\[[\d;]*m", "", run("serve", "--help").stdout)
    for name in Settings.model_fields:
        if name != "handler":
            assert flag_of(name) in text


def test_flags_become_settings(run, served):
    result = run(
        "serve", "mediaserver.agents:Echo", "--port", 9000, "--max-calls", 7, "--access-log"
    )
    assert result.exit_code == 0, result.stderr
    settings, routes = served[0]
    assert (settings.port, settings.max_calls, settings.access_log) == (9000, 7, True)
    assert routes.match("/stream").name == "Echo"


def test_several_handlers_are_routed_by_path_and_number(run, served):
    run("serve", "/sales=mediaserver.agents:Echo", "+14155550100=mediaserver.agents:Echo")
    _, routes = served[0]
    assert routes.match("/sales") is not None
    assert routes.match("/stream") is None
    assert routes.match("/stream", "14155550100") is not None


def test_the_handler_may_stand_in_the_file(run, served, tmp_path):
    (tmp_path / "other.toml").write_text('handler = ["mediaserver.agents:Echo"]\npath = "/x"\n')
    run("serve", "--config", "other.toml")
    assert served[0][1].match("/x") is not None


def test_a_handler_in_the_working_directory_is_found(run, served, tmp_path):
    (tmp_path / "my_agent_here.py").write_text("async def agent(stream): ...\n")
    result = run("serve", "my_agent_here:agent")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no handler is named: give one as package.module:Name"),
        (["mediaserver.agents"], "package.module:Name"),
        (["no_such_module:Echo"], "no module 'no_such_module'"),
        (["mediaserver.agents:Ecko"], "did you mean 'Echo'?"),
        (["json:dumps"], "not async"),
        (["soon=mediaserver.agents:Echo"], "neither a path"),
        (["mediaserver.agents:Echo", "--port", "many"], "--port: 'many' must be a valid integer"),
        (["mediaserver.agents:Echo", "--config", "no.toml"], "no.toml: there is no such file"),
        (["mediaserver.agents:Echo", "--ssl-certfile", "no.pem"], "no.pem: No such file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_status_2(run, arguments, text):
    result = run("serve", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stdout == ""


def test_each_problem_has_a_line(run):
    result = run("serve", "mediaserver.agents:Echo", "--port", "x", "--max-calls", "0")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("mediaserver: --") for line in lines)


def test_a_port_in_use_ends_with_status_1(run):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "mediaserver.agents:Echo", "--port", taken.getsockname()[1])
    assert result.exit_code == 1
    assert "another process has this port" in result.stderr


def test_the_status_of_the_server_is_that_of_the_command(run, monkeypatch):
    monkeypatch.setattr("mediaserver.server.process.daemon.run_server", lambda settings, routes: 1)
    assert run("serve", "mediaserver.agents:Echo").exit_code == 1


def test_reload_runs_the_same_command_without_the_flag(run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "mediaserver.server.process.reload.run_reloading",
        lambda command, folder: seen.append(command),
    )
    monkeypatch.setattr(sys, "argv", ["mediaserver", "serve", "--reload", "a:B", "--port", "1"])
    assert run("serve", "--reload", "a:B", "--port", "1").exit_code == 0
    assert seen == [
        [sys.executable, "-m", "mediaserver", "serve", "a:B", "--port", "1", "--drain-timeout", "0"]
    ]


def test_reload_without_its_package_ends_with_status_2(run, monkeypatch):
    from mediaserver.server.process.reload import ReloadError

    def missing(command, folder):
        raise ReloadError("needs watchfiles")

    monkeypatch.setattr("mediaserver.server.process.reload.run_reloading", missing)
    result = run("serve", "--reload", "a:B")
    assert result.exit_code == 2
    assert "needs watchfiles" in result.stderr


# call


@contextlib.contextmanager
def echo_server():
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "mediaserver", "serve", "mediaserver.agents:Echo"),
            *("--port", "0", "--log-format", "json"),
        ),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = json.loads(process.stderr.readline())["url"]
        yield url.replace("http", "ws") + "/stream"
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def serving(handler):
    """Serve connections by a coroutine, in a thread of its own, and give the address."""

    async def main():
        async with serve(handler, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            told.set_result((asyncio.get_running_loop(), asyncio.current_task(), port))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    told = Future()
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    loop, task, port = told.result()
    try:
        yield f"ws://127.0.0.1:{port}/stream"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


@pytest.fixture(scope="module")
def echo_url():
    with echo_server() as url:
        yield url


@pytest.fixture
def tone(tmp_path):
    """A WAV file with 0.3 s of a tone."""
    time = np.arange(2_400) / 8_000
    path = tmp_path / "in.wav"
    write_wav(path, (8_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16), 8_000)
    return path


def test_a_call_is_made_recorded_and_reported(run, echo_url, tone):
    result = run("call", echo_url, "--audio", tone, "--record", "out.wav", "--silence", "0.2")
    assert result.exit_code == 0, result.stderr
    assert "stream started" in result.stdout
    assert "ended by" in result.stdout
    recording = read_wav("out.wav")
    assert recording.samples.shape[1] == 2
    assert np.abs(recording.samples[:, 1]).max() > 7_000


def test_a_call_can_be_reported_as_json(run, echo_url, tone):
    arguments = ["call", echo_url, "--audio", tone, "--silence", "0.1", "--press", "3@0.1"]
    result = run(*arguments, "--json", "--report", "report.json")
    report = json.loads(result.stdout)
    assert report["ended_by"] == "caller"
    assert [key["digit"] for key in report["keys_pressed"]] == ["3"]
    assert json.loads(Path("report.json").read_text()) == report


def test_a_call_that_is_not_taken_ends_with_status_1(run, echo_url):
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
def test_a_bad_option_of_a_call_is_refused_with_status_2(run, option, value, text):
    result = run("call", "ws://127.0.0.1:1/", option, value)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize("command", ["call", "load"])
def test_an_audio_file_that_is_not_there_is_refused_with_status_2(run, echo_url, command):
    result = run(command, echo_url, "--audio", "nowhere.wav")
    assert result.exit_code == 2
    assert "nowhere.wav" in result.stderr


@pytest.mark.parametrize("option", ["--record", "--report"])
def test_a_file_that_cannot_be_written_is_refused_before_the_call(run, option):
    result = run("call", "ws://127.0.0.1:1/", option, "nowhere/out")
    assert result.exit_code == 2
    assert "there is no folder nowhere" in result.stderr


def test_a_silence_in_mid_speech_is_shown(run):
    async def halting(connection):
        spoken = PlayAudio(MULAW_8K.encode(np.full(800, 8_000, np.int16)), MULAW_8K)
        frames = 0
        async for message in connection:
            frames += isinstance(decode_event(message), Media)
            if frames in (1, 45):
                await connection.send(encode_command(spoken).decode())

    with serving(halting) as url:
        result = run("call", url, "--seconds", 2, "--silence", 2)
    figures = dict(re.findall(r"^(\w+) +(.+?) *$", result.stdout, re.M))
    assert figures["gaps"] == "0, 0 ms"
    assert re.fullmatch(r"1, 0\.\d\d s, the longest 0\.\d\d s", figures["pauses"])


def test_ctrl_c_ends_a_call_and_keeps_what_was_heard():
    process = None

    async def interrupting(connection):
        spoken = PlayAudio(MULAW_8K.encode(np.full(160, 8_000, np.int16)), MULAW_8K)
        frames = 0
        async for message in connection:
            frames += isinstance(decode_event(message), Media)
            await connection.send(encode_command(spoken).decode())
            if frames == 10:
                process.send_signal(signal.SIGINT)

    with serving(interrupting) as url:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "mediaserver", "call", url, "--silence", "60"),
                *("--record", "out.wav", "--report", "report.json"),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    assert "ended by  " in out
    assert read_wav("out.wav").samples[:, 1].any()
    assert json.loads(Path("report.json").read_text())["ended_by"] == "caller"


def test_ctrl_c_before_the_call_is_taken_says_so(run, monkeypatch):
    async def interrupted(options, *, watch):
        raise KeyboardInterrupt

    monkeypatch.setattr("mediaserver.sandbox.place_call", interrupted)
    result = run("call", "ws://127.0.0.1:1/")
    assert result.exit_code == 130
    assert "before the call was taken" in result.stderr


def test_ctrl_c_during_a_load_says_how_far_it_has_come(run, monkeypatch):
    async def interrupted(url, *, on_progress, **options):
        on_progress(
            LoadProgress(elapsed=2, calls=9, dialled=8, live=4, failed=1, cut=0, finished=3)
        )
        raise KeyboardInterrupt

    monkeypatch.setattr("mediaserver.sandbox.load", interrupted)
    result = run("load", "ws://127.0.0.1:1/")
    assert result.exit_code == 130
    assert "interrupted: 4 live, 3 finished, 1 failed, 0 cut" in result.stderr


def test_misbehaviours_are_listed(run):
    result = run("call", "ws://127.0.0.1:1/", "--misbehave", "help")
    assert result.exit_code == 0
    assert "garbage" in result.stdout


# demo


def test_the_demo_writes_where_it_is_told_and_its_status_is_that_of_the_command(run, monkeypatch):
    seen = []

    def held(output, *, as_json):
        seen.append((output, as_json))
        return 1

    monkeypatch.setattr("mediaserver.demo.run", held)
    assert run("demo", "--output", "there", "--json").exit_code == 1
    assert seen == [(Path("there"), True)]


def test_a_demo_without_its_packages_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr("builtins.__import__", _importing_without("matplotlib"))
    result = run("demo")
    assert result.exit_code == 1
    assert "the demo needs matplotlib: pip install 'mediaserver[demo]'" in result.stderr


def _importing_without(package):
    real = __import__

    def importing(name, *more, **options):
        if name == "mediaserver.demo":
            raise ModuleNotFoundError(name=package)
        return real(name, *more, **options)

    return importing


def test_many_calls_are_made_and_reported(run, echo_url, tone):
    result = run("load", echo_url, "--calls", 3, "--seconds", 0.5, "--audio", tone)
    assert result.exit_code == 0
    assert "3 of 3 taken" in result.stdout


def test_many_calls_can_be_reported_as_json(run, echo_url):
    result = run("load", echo_url, "--calls", 2, "--seconds", 0.2, "--json")
    report = json.loads(result.stdout)
    assert report["made"] == 2
    assert report["ok"]


def test_calls_that_are_not_taken_end_with_status_1(run, echo_url):
    result = run("load", echo_url.replace("/stream", "/nowhere"), "--calls", 2, "--seconds", 0.2)
    assert result.exit_code == 1
    assert "404" in result.stdout


def test_a_load_of_no_known_format_is_refused(run, echo_url):
    result = run("load", echo_url, "--format", "audio/opus")
    assert result.exit_code == 2
    assert "audio/opus" in result.stderr
