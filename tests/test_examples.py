"""Each example is called by a phone; what its docstring tells people to run must exist."""

import asyncio
import re
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
import typer
import uvicorn

from mediaserver import cli
from mediaserver.handler import Routes, load_name
from mediaserver.sandbox import Phone
from mediaserver.server.tokens import Claims, seal
from mediaserver.settings import Settings
from mediaserver.testing import joined, run_virtual


ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
SECRET = "sixteen characters at least"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def tone(hertz=440, seconds=1.0):
    time = np.arange(round(8000 * seconds)) / 8000
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def pitch(samples):
    """Return the loudest frequency in Hz of a clip at 8 kHz."""
    return np.abs(np.fft.rfft(samples)).argmax() * 8000 / len(samples)


def stream_url(called, path="/stream"):
    """The path and query that `/answer` would have had Plivo call."""
    claims = Claims("call-1", "14155550111", called, int(time.time()) + 86_400)
    return f"{path}?token={seal(claims, SECRET)}"


def call(name, *, path="/stream", keys=None, seconds=None, silence=6.0, **phone):
    """Make a call in virtual time: the phone's report, and the `Line`."""

    async def run():
        handler = load_name(f"examples.{name}")
        async with joined(handler, path=path, settings=Settings(secret=SECRET), **phone) as line:
            for when, key in (keys or {}).items():
                await line.phone.wait_until(when)
                line.phone.press(key)
            if seconds is None:
                await line.phone.wait_closed()
            else:
                await line.phone.wait_until(seconds)
            report = line.phone.report()
        assert line.runtime.counters.handler_errors == 0
        assert not report.errors
        assert not report.warnings
        return report

    return run_virtual(run())


@pytest.mark.parametrize("name", EXAMPLES)
def test_commands_in_the_docstring_name_what_there_is(name):
    text = Path(ROOT, "examples", f"{name}.py").read_text()
    commands = [
        shlex.split(line) for line in re.findall(r"^    ((?:mediaserver|uvicorn) .+)", text, re.M)
    ]
    assert commands
    for program, first, *rest in commands:
        if program == "uvicorn":
            assert callable(load_name(first))
            continue
        command = typer.main.get_command(cli.app).commands[first]
        context = command.make_context(first, rest)
        if first == "serve":
            Routes.load(*context.params["spec"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_on_a_screen(name):
    assert len(Path(ROOT, "examples", f"{name}.py").read_text().splitlines()) <= 60


def test_echo_returns_what_it_hears():
    report = call("echo:echo", audio=tone(440), seconds=2)
    assert report.audio_played == pytest.approx(2, abs=0.05)
    assert pitch(report.recording[:8000, 1]) == pytest.approx(440, abs=2)


def test_a_greeting_is_heard_whole_and_then_hangs_up():
    report = call("greeting:Greeting")
    assert report.audio_played == pytest.approx(3, abs=0.02)
    assert (report.ended_by, report.close_code) == ("server", 1000)


def test_a_key_cuts_the_greeting_short():
    report = call("greeting:Greeting", keys={1.5: "1"})
    assert report.audio_cleared > 0
    assert report.audio_played == pytest.approx(1.5, abs=0.04)
    assert report.ended_by == "server"


def test_the_menu_answers_a_key_and_says_goodbye():
    report = call("menu:menu", keys={0.5: "2"})
    assert report.duration == pytest.approx(0.5 + 0.75 + 0.75, abs=0.1)
    assert pitch(report.recording[-2000:, 1]) == pytest.approx(440, abs=10)
    assert report.ended_by == "server"


def test_the_menu_asks_three_times_and_gives_up():
    report = call("menu:menu")
    question_and_patience, sorry, goodbye = 0.75 + 4.0, 0.5, 0.75
    expected = 3 * question_and_patience + 2 * sorry + sorry + goodbye
    assert report.duration == pytest.approx(expected, abs=0.2)


def test_the_menu_asks_again_after_a_wrong_key():
    report = call("menu:menu", keys={0.5: "7", 3.0: "1"})
    assert pitch(report.recording[3 * 8000 + 400 : 3 * 8000 + 3600, 1]) == pytest.approx(
        880, abs=10
    )


@pytest.mark.parametrize(
    ("path", "hertz"),
    [
        ("/high", 880),
        (stream_url("14155550100"), 220),
        (stream_url("14155550199"), 440),
        ("/stream", 440),
    ],
)
def test_routes_pick_a_handler_by_path_and_number(path, hertz):
    report = call("routes:ROUTES", path=path, audio=tone(440), seconds=1.5)
    assert pitch(report.recording[800:7200, 1]) == pytest.approx(hertz, abs=2)


def test_settings_of_a_route_reach_a_function():
    report = call("routes:ROUTES", audio=tone(440), seconds=1.5)
    said, heard = np.abs(report.recording[:8000]).max(axis=0)
    assert heard == pytest.approx(said / 2, rel=0.05)


def test_what_the_lifespan_yields_is_shared_by_calls():
    async def run():
        routes = load_name("examples.routes:ROUTES")
        settings = Settings(secret=SECRET)
        async with joined(routes, path=stream_url("14155550100"), settings=settings) as line:
            await line.phone.wait_for_audio()
            return list(line.stream.shared.callers)

    assert run_virtual(run()) == ["14155550111"]


async def test_speech_of_a_service_is_heard_until_a_key_comes():
    """In real time, about a second: a lookup that blocks needs a thread."""
    async with joined(load_name("examples.outside_service:Agent")) as line:
        await line.phone.wait_for_audio()
        line.phone.press("1")
        await line.phone.wait_for_silence(0.3)
        report = line.phone.report()
    assert line.runtime.counters.handler_errors == 0
    (cleared,) = [entry.time for entry in report.timeline if entry.kind == "cleared"]
    assert report.audio_cleared > 0
    assert report.agent_speech[-1][1] > cleared + 0.5


async def test_a_mounted_handler_serves_calls_beside_the_application():
    """On a real uvicorn, on loopback."""
    config = uvicorn.Config(
        load_name("examples.mount:app"), port=0, log_config=None, ws="websockets-sansio"
    )
    sock = config.bind_socket()
    port = sock.getsockname()[1]
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([sock]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        phone = Phone(f"ws://127.0.0.1:{port}/plivo/stream", audio=tone(440, 0.2))
        report = await phone.call(silence=0.1)
    finally:
        server.should_exit = True
        await serving
        sock.close()
    assert report.agent_speech
    assert not report.errors
