"""Each example is called by a phone; what its docstring tells people to run must exist."""

import asyncio
import json
import logging
import re
import shlex
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import uvicorn
from pydantic import SecretStr

from audiocodecs import MULAW_8K, Samples, resample
from mediaserver.agents.prompts import spoken
from mediaserver.call import TurnCounters
from mediaserver.cli.commands import COMMANDS
from mediaserver.espeak import speak
from mediaserver.plivo import PlivoClient
from mediaserver.routes import Routes, load_name
from mediaserver.sandbox import CallReport, Phone
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person, Say, WaitForAgent
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.server.outbound.outcome import DialReport, Outcome
from mediaserver.server.outbound.placing import place_calls
from mediaserver.server.trust.tokens import Claims, seal
from mediaserver.settings import Settings
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.openai import ChatToolCall, OpenAIServer, hears, says
from mediaserver.testing.openai.realtime import CallTool, OpenAIRealtimeServer, RealtimeAnswer


ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("[!_]*.py"))
SECRET = "sixteen characters at least"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def caller_says(text: str) -> Samples:
    """A clip at 8 kHz."""
    clip = speak(text, "en-us+f2")
    return resample(clip.mono(), clip.rate, 8000)


def tone(hertz: int = 440, seconds: float = 1.0) -> Samples:
    time = np.arange(round(8000 * seconds)) / 8000
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def recorded(report: CallReport) -> Samples:
    """Return both voices, the caller's and the agent's."""
    assert report.recording is not None
    return report.recording


def pitch(samples: Samples) -> np.float64:
    """Return the loudest frequency in Hz of a clip at 8 kHz."""
    return np.abs(np.fft.rfft(samples)).argmax() * 8000 / len(samples)


def stream_url(called: str, path: str = "/stream") -> str:
    """The path and query that `/answer` would have had Plivo call."""
    claims = Claims("call-1", "14155550111", called, int(time.time()) + 86_400)
    return f"{path}?token={seal(claims, SECRET)}"


def call(
    name: str,
    *,
    path: Any = "/stream",
    keys: dict[float, str] | None = None,
    seconds: float | None = None,
    silence: float = 6.0,
    **phone: Any,
) -> CallReport:
    """Make a call in virtual time: the phone's report, and the `JoinedCall`."""

    async def run() -> CallReport:
        handler = load_name(f"examples.{name}")
        async with joined(
            handler, path=path, settings=Settings(secret=SecretStr(SECRET)), **phone
        ) as line:
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
def test_commands_in_the_docstring_name_what_there_is(name: str) -> None:
    text = Path(ROOT, "examples", f"{name}.py").read_text()
    commands = [
        shlex.split(line) for line in re.findall(r"^    ((?:mediaserver|uvicorn) .+)", text, re.M)
    ]
    assert commands
    for program, first, *rest in commands:
        if program == "uvicorn":
            assert callable(load_name(first))
            continue
        command = COMMANDS[first].load(first)
        context = command.make_context(first, rest)
        if first == "serve":
            Routes.load(*context.params["spec"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_on_a_screen(name: str) -> None:
    assert len(Path(ROOT, "examples", f"{name}.py").read_text().splitlines()) <= 60


def test_echo_returns_what_it_hears() -> None:
    report = call("echo:echo", audio=tone(440), seconds=2)
    assert report.audio_played == pytest.approx(2, abs=0.05)
    assert pitch(recorded(report)[:8000, 1]) == pytest.approx(440, abs=2)


def test_a_greeting_is_heard_whole_and_then_hangs_up() -> None:
    report = call("greeting:Greeting")
    assert report.audio_played == pytest.approx(3, abs=0.02)
    assert (report.ended_by, report.close_code) == ("server", 1000)


def test_a_key_cuts_the_greeting_short() -> None:
    report = call("greeting:Greeting", keys={1.5: "1"})
    assert report.audio_cleared > 0
    assert report.audio_played == pytest.approx(1.5, abs=0.04)
    assert report.ended_by == "server"


def prompts_after(report: CallReport, seconds: float, prompts: list[str]) -> list[str]:
    """Return which of the menu's prompts began within a tenth of a second after a key."""
    since = round(seconds * 8000)
    heard = recorded(report)[since : since + 4800, 1]

    async def begins(text: str) -> Samples:
        voice = load_name("examples.menu:VOICE")  # it keeps what it has said
        frames = [piece async for piece in spoken(text, MULAW_8K, voice)]
        return np.concatenate([frame.samples for frame in frames])[:4000]

    starts = np.lib.stride_tricks.sliding_window_view(heard, 4000)
    return [text for text in prompts if (starts == run_virtual(begins(text))).all(axis=1).any()]


def test_the_menu_finds_an_order_by_its_number() -> None:
    report = call("menu:MENU", keys={1.0: "1", 2.0: "1001"})
    answer = "Order 1 0 0 1 is on its way."
    assert prompts_after(report, 2.3, [answer, "Order 1 0 0 1 is not known here."]) == [answer]
    assert report.ended_by == "server"


def test_the_menu_is_gone_through_and_back() -> None:
    report = call("menu:MENU", keys={1.0: "2", 2.0: "9", 3.0: "*", 4.0: "5"}, seconds=5)
    menu, hours = (load_name(f"examples.menu:{name}").prompt for name in ("MENU", "HOURS"))
    prompts = [menu, hours, load_name("examples.menu:MENU").invalid]
    heard = [prompts_after(report, second, prompts) for second in range(5)]
    assert heard == [[menu], [hours], [hours], [menu], [prompts[2]]]


def test_the_menu_asks_three_times_and_gives_up() -> None:
    report = call("menu:MENU")
    assert report.ended_by == "server"
    assert report.duration > 3 * 5.0


def test_the_recorder_has_both_sides_and_not_what_is_said_while_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = tone(440, 0.5)
    quiet = np.zeros(12_000, np.int16)
    audio = np.concatenate([said, quiet, said])  # from 0.0 and from 2.0
    call("recorder:RECORDED", audio=audio, keys={1.9: "*", 2.8: "*"}, seconds=5)
    (file,) = tmp_path.glob("recordings/*/*.flac")
    samples, rate = soundfile.read(file, dtype="int16")
    assert rate == 8000
    caller, agent = (np.abs(samples[:, side].astype(int)) > 1000 for side in (0, 1))
    assert caller[:4000].mean() > 0.8
    assert not caller[15_400:22_000].any()
    assert agent[4000:15_000].any()
    assert agent[22_400:].any()


def test_the_offline_agent_understands_answers_and_hangs_up() -> None:
    async def run() -> tuple[CallReport, TurnCounters]:
        async with joined(load_name("examples.offline:TownHall")) as line:
            await line.phone.wait_for_audio()
            await line.phone.wait_for_silence(0.5)
            line.phone.say(caller_says("I need a new passport."))
            await line.phone.wait_until(line.phone.time + 2.5)
            await line.phone.wait_for_silence(1.0)
            turns = line.stream.counters.turns
            line.phone.say(caller_says("Thank you. Goodbye!"))
            await line.phone.wait_closed()
            return line.phone.report(), turns

    report, turns = run_virtual(run())
    assert report.ended_by == "server"
    assert (turns.turns, turns.interrupted, turns.failures) == (3, 0, {})
    passport, goodbye = (reply.seconds or 0.0 for reply in report.replies[-2:])
    assert 0 < max(passport, goodbye) < 2


@pytest.mark.parametrize(
    ("path", "hertz"),
    [
        ("/high", 880),
        (stream_url("14155550100"), 220),
        (stream_url("14155550199"), 440),
        ("/stream", 440),
    ],
)
def test_routes_pick_a_handler_by_path_and_number(path: str, hertz: Any) -> None:
    report = call("routes:ROUTES", path=path, audio=tone(440), seconds=1.5)
    assert pitch(recorded(report)[800:7200, 1]) == pytest.approx(hertz, abs=2)


def test_settings_of_a_route_reach_a_function() -> None:
    report = call("routes:ROUTES", audio=tone(440), seconds=1.5)
    said, heard = np.abs(recorded(report)[:8000]).max(axis=0)
    assert heard == pytest.approx(said / 2, rel=0.05)


def test_what_the_lifespan_yields_is_shared_by_calls() -> None:
    async def run() -> list[str]:
        routes = load_name("examples.routes:ROUTES")
        settings = Settings(secret=SecretStr(SECRET))
        async with joined(routes, path=stream_url("14155550100"), settings=settings) as line:
            await line.phone.wait_for_audio()
            return list(line.stream.shared.callers)

    assert run_virtual(run()) == ["14155550111"]


async def test_speech_of_a_service_is_heard_until_a_key_comes() -> None:
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


async def test_a_mounted_handler_serves_calls_beside_the_application() -> None:
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
        async with Phone(f"ws://127.0.0.1:{port}/plivo/stream", audio=tone(440, 0.2)) as phone:
            await phone.wait_for_audio()
            await phone.hang_up()
    finally:
        server.should_exit = True
        await serving
        sock.close()
    assert phone.report().agent_speech
    assert not phone.report().errors


# Agents, in real time: their services are real servers, on loopback.


@pytest.fixture
async def openai(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    async with OpenAIServer(api_key="a test key") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "a test key")
        yield server
    assert server.refused == []


async def ask(handler: type[Any], question: str) -> None:
    """Wait for the greeting, ask, and wait until the agent hangs up."""
    async with joined(handler, caller="+14155550111") as line:
        await line.phone.wait_for_audio()
        await line.phone.wait_for_silence(0.3)
        line.phone.say(caller_says(question))
        await line.phone.wait_closed()
        report = line.phone.report()
    assert report.ended_by == "server"
    assert not report.errors


async def close(agent: type[Any]) -> None:
    """Close the connections of a class's services: they are there for all calls of a process."""
    for service in (agent.speech_to_text, agent.language_model, agent.text_to_speech):
        await service.close()


async def test_the_receptionist_looks_up_books_and_hangs_up(openai: OpenAIServer) -> None:
    openai.transcription.will(hears("A table for two on the fourth of January, for Ann Lee."))
    booking = {"day": "2030-01-04", "at": "18:00", "name": "Ann Lee", "people": 2}
    openai.chat.will(
        says(calls=[ChatToolCall("free_times", '{"day": "2030-01-04"}')]),
        says(
            "I have six o'clock. ", calls=[ChatToolCall("book", json.dumps(booking), id="call_2")]
        ),
        says("It is booked. Goodbye.", calls=[ChatToolCall("hang_up", id="call_3")]),
    )
    receptionist = load_name("examples.receptionist:Receptionist")
    await ask(receptionist, "A table for two, please.")
    await close(receptionist)
    results = [
        message["content"]
        for message in openai.chat.received[-1].params["messages"]
        if message["role"] == "tool"
    ]
    assert results == ['["18:00:00","19:30:00","21:00:00"]', "Booked."]
    assert load_name("examples.receptionist:BOOKED").popitem()[1] == "Ann Lee, 2, +14155550111"
    prompt = openai.chat.received[0].params["messages"][0]["content"]
    assert f"{time.localtime().tm_year}" in prompt


async def test_the_realtime_receptionist_looks_up_and_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Good evening, Rosa's restaurant."),
        RealtimeAnswer(calls=[CallTool("free_times", {"day": "2030-01-04"})]),
        RealtimeAnswer(text="Six is free. Goodbye.", calls=[CallTool("hang_up")]),
        transcripts=["Is a table free on the fourth of January?"],
    )
    async with server.running():
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.api_key)
        receptionist = load_name("examples.receptionist_realtime:Receptionist")
        await ask(receptionist, "Is a table free on Friday?")
    assert server.refusals == []
    items = [event["item"] for event in server.of_type("conversation.item.create")]
    results = [item["output"] for item in items if item["type"] == "function_call_output"]
    assert results[0] == '["18:00:00","19:30:00","21:00:00"]'


@pytest.fixture
async def beside_a_sandbox() -> AsyncIterator[Any]:
    """A client of a sandbox, its exchange, and settings for a server beside it."""
    account = Account()
    token = account.auth_token.get_secret_value()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    async with (
        Sandbox(SandboxOptions(account=account)) as sandbox,
        PlivoClient(
            account.auth_id,
            token,
            base_url="http://sandbox",
            transport=httpx.ASGITransport(app=sandbox.app),
        ) as plivo,
    ):
        settings = Settings(
            port=port,
            public_url=f"http://127.0.0.1:{port}",
            auth_id=account.auth_id,
            auth_token=SecretStr(token),
        )
        yield plivo, sandbox.exchange, settings


async def test_the_reminder_calls_notes_the_answer_and_hangs_up(
    openai: OpenAIServer,
    beside_a_sandbox: tuple[PlivoClient, Exchange, Settings],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plivo, exchange, settings = beside_a_sandbox
    patient = Person((WaitForAgent(silence=0.3), Say("Yes, I will come.")), ring=0)
    exchange.dialplan = Dialplan(lambda: patient)
    openai.transcription.will(hears("Yes, I will come."))
    openai.chat.will(
        says(calls=[ChatToolCall("note", '{"answer": "will come"}')]),
        says("Thank you. Goodbye.", calls=[ChatToolCall("hang_up", id="call_2")]),
    )
    caplog.set_level(logging.INFO, "examples.reminder")
    reminder = load_name("examples.reminder:Reminder")
    (report,) = await place_calls(settings, plivo, reminder, ["+14155550199"], "+14155550100")
    await close(reminder)
    assert isinstance(report, DialReport)
    assert report.outcome is Outcome.ANSWERED
    assert "14155550199: will come" in caplog.text
    prompt = openai.chat.received[0].params["messages"][0]["content"]
    assert "Doctor Okafor" in prompt
