"""How long a voice takes from a browser's microphone through an Echo to its speaker.

    python -m benchmarks.browser_phone [--only steady,jittery,browser] [--calls 20] [--seconds 10]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from audiocodecs import AudioFormat, Samples
from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.processes import running
from benchmarks.records import echo
from mediaserver.dev.phone_socket import BrowserPhones
from mediaserver.dev.running import DevOptions, run_dev
from mediaserver.sandbox.audio.playback import Happening, PlaybackBuffer
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.people.live_person import LivePerson
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.sandbox.webhooks import Target


EXPERIMENTS = ("steady", "jittery", "browser")

GRID = 20.0
"""Milliseconds: a line takes a frame when all of it has been said."""

GOAL = 60.0
"""Milliseconds beyond the grid, and beyond what the browser itself takes."""

AGENT = "+14155550123"

RATE = 16_000
PIECE = 128
"""Samples in a message: what a browser's microphone gives at a time."""

PERIOD = 0.6
"""Seconds from one click to the next."""

_CLICK = 320
_AUDIBLE = 2_000
_QUIET = 0.1
"""Seconds without a sound before a click."""

PARTS = (
    "the line's frame (the grid)",
    "to the sandbox",
    "jitter buffer and the line's clock",
    "to the agent and back",
    "until the carrier plays its next frame",
    "back to the browser",
)


class Clicks:
    """Where clicks begin in audio that comes piece by piece.

    Args:
        rate: sample rate in Hz.

    Attributes:
        found: of each click, when the piece that it begins in came, and how many seconds into it.

    """

    def __init__(self, rate: int = RATE) -> None:
        self.found: list[tuple[float, float]] = []
        self._rate = rate
        self._quiet = 0

    def hear(self, samples: Samples | None, now: float) -> None:
        """Take the next piece; None for a frame of silence."""
        if samples is None:
            self._quiet += self._rate // 50
            return
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _AUDIBLE)
        if not loud.size:
            self._quiet += len(samples)
            return
        if self._quiet + loud[0] > _QUIET * self._rate:
            self.found.append((now, float(loud[0]) / self._rate))
        self._quiet = len(samples) - 1 - int(loud[-1])

    def after(self, time: float) -> tuple[float, float] | None:
        """Return the first click that came within 0.5 s after a time."""
        return next((each for each in self.found if time <= each[0] < time + 0.5), None)


class FollowedPerson(LivePerson):
    """A person whose voice is followed on its way to the agent, and back.

    Attributes:
        taken, said, obeyed, begun: clicks as they come to the sandbox, are said on the line, come
            back from the agent, and begin to be played by the carrier.
        playback: where the agent's audio is played.

    """

    known: ClassVar[list["FollowedPerson"]] = []

    def __init__(self) -> None:
        super().__init__()
        self.known.append(self)
        self.taken, self.said, self.obeyed, self.begun = (Clicks() for _ in range(4))
        self.playback: PlaybackBuffer | None = None

    def speak(self, samples: Samples) -> None:
        """Take audio from outside."""
        self.taken.hear(samples, _now())
        super().speak(samples)

    def _say(self) -> Samples | None:
        frame = super()._say()
        self.said.hear(frame, _now())
        return frame

    def _heard(self, frame: Samples | None) -> None:
        self.begun.hear(frame, _now())
        super()._heard(frame)


class FollowedPlayback(PlaybackBuffer):
    """Where the audio of the latest person's agent is played."""

    def __init__(self, format: AudioFormat, **options: Any) -> None:
        super().__init__(format, **options)
        self._person = FollowedPerson.known[-1]
        self._person.playback = self
        self._person.obeyed = Clicks(format.rate)

    def play(self, payload: bytes, now: float) -> list[Happening]:
        """Take audio from the agent."""
        self._person.obeyed.hear(self.format.decode(payload), _now())
        return super().play(payload, now)


@contextmanager
def followed() -> Iterator[None]:
    """Follow the persons and the streams that are made within the block."""
    FollowedPerson.known.clear()
    with (
        mock.patch("mediaserver.dev.phone_socket.LivePerson", FollowedPerson),
        mock.patch("mediaserver.sandbox.audio.tracks.PlaybackBuffer", FollowedPlayback),
    ):
        yield


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Measured:
    """What came of some calls.

    Attributes:
        said: clicks that were said.
        parts: of each click that was heard, the milliseconds of each part.
        seconds: length of the calls.
        late, lengthened: what the jitter buffers counted.
        gaps: in what the carrier played.

    """

    said: int = 0
    parts: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    late: int = 0
    lengthened: int = 0
    gaps: int = 0

    def add(self, person: FollowedPerson, seconds: float) -> None:
        """Enter what was counted in a call."""
        self.seconds += seconds
        self.late += person.buffer.late
        self.lengthened += person.buffer.lengthened
        self.gaps += 0 if person.playback is None else len(person.playback.gaps)


class Benchmark(Experiments):
    """The experiments."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Findings(self.settings, "A phone in the browser")

    def run(self) -> None:
        """Measure."""
        experiments: dict[str, Callable[[], None]] = {
            "steady": lambda: self._without_browser("steady"),
            "jittery": lambda: self._without_browser("jittery"),
            "browser": self._in_a_browser,
        }
        self.perform(experiments, self.report)

    def _without_browser(self, name: str) -> None:
        chosen, add = self.chosen, self.report.add
        with running(echo(), self.server_core, None) as server:
            measured = asyncio.run(
                calls(server.url, chosen.calls, chosen.seconds, jittery=name == "jittery")
            )
        add(name, "clicks said", measured.said)
        add(name, "clicks heard", len(measured.parts))
        self._tell(name, measured, PARTS, GOAL if name == "steady" else None)

    def _tell(
        self, name: str, measured: Measured, names: Sequence[str], goal: float | None
    ) -> None:
        add = self.report.add
        if not measured.parts:
            self.report.missing.append(f"{name}: nothing was heard")
            return
        parts = np.array(measured.parts)
        median, most = (round(float(each), 1) for each in np.percentile(parts.sum(1), (50, 95)))
        add(name, "microphone to speaker, median", median, "ms")
        add(name, "microphone to speaker, p95", most, "ms")
        add(name, "beyond the grid of 20 ms, p95", round(most - GRID, 1), "ms", goal)
        for part, times in zip(names, parts.T, strict=True):
            median, most = np.percentile(times, (50, 95))
            add(name, f"· {part}, median", round(float(median), 1), "ms")
            add(name, f"· {part}, p95", round(float(most), 1), "ms")
        minutes = measured.seconds / 60
        add(name, "silences in the voice, a minute", round(measured.late / minutes, 2))
        add(name, "repetitions in the voice, a minute", round(measured.lengthened / minutes, 2))
        add(name, "gaps in what the carrier played, a minute", round(measured.gaps / minutes, 2))

    def _in_a_browser(self) -> None:
        chosen = self.chosen
        if why := _no_browser():
            self.report.doubts.append(f"browser: not measured: {why}; make browser installs it")
            return
        # A browser and its server need more than one core.
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        count, seconds = max(1, chosen.calls // 4), 2 * chosen.seconds
        with chromium_clicks() as microphone, followed():
            found = asyncio.run(developed(partial(browser_calls, microphone, count, seconds)))
            wall, persons = time.time() - time.monotonic(), list(FollowedPerson.known)
        measured = Measured()
        for call, person in zip(found, persons, strict=True):
            measured.add(person, seconds)
            measured.parts += _browser_parts(call.clicks, person, wall)
        self._tell("browser", measured, BROWSER_PARTS, GOAL)
        add, own = self.report.add, found[0].own
        add("browser", "the browser's own output, beside that", round(1000 * own, 1), "ms")
        underruns = sum(call.underruns for call in found)
        add(
            "browser",
            "underruns of the speaker, a minute",
            round(60 * underruns / seconds / count, 2),
        )


async def calls(stream_url: str, calls: int, seconds: float, *, jittery: bool) -> Measured:
    """Make calls one after the other."""
    measured = Measured()
    chance = random.Random(7)
    async with phones_at(stream_url) as url:
        for _ in range(calls):
            # Each call has another phase between the browser's clock and the line's.
            await asyncio.sleep(chance.uniform(0, 0.02))
            async with connect(url, compression=None) as websocket:
                lags = _lags(seconds, chance) if jittery else None
                await _one_call(websocket, seconds, chance, lags, measured)
    return measured


def _lags(seconds: float, chance: random.Random) -> Sequence[float]:
    """Return how late each piece comes: up to 15 ms, and every few seconds a stall of up to 40."""
    count = round(seconds * RATE / PIECE)
    lags = [chance.uniform(0, 0.015) for _ in range(count)]
    at = 0
    while (at := at + round(chance.expovariate(1 / 3) * RATE / PIECE)) < count:
        lags[at] = chance.uniform(0.005, 0.04)
    return lags


async def _one_call(
    websocket: ClientConnection,
    seconds: float,
    chance: random.Random,
    lags: Sequence[float] | None,
    measured: Measured,
) -> None:
    """Say clicks in a call, and enter what became of them."""
    opened = asyncio.Event()
    heard = Clicks()

    async def hear() -> None:
        async for message in websocket:
            if isinstance(message, bytes):
                heard.hear(np.frombuffer(message, "<i2").astype(np.int16), _now())
            elif json.loads(message).get("kind") == "stream opened":
                opened.set()

    hearing = asyncio.create_task(hear())
    await websocket.send(json.dumps({"do": "dial", "to": AGENT}))
    await asyncio.wait_for(opened.wait(), 10)
    person = FollowedPerson.known[-1]
    await asyncio.sleep(chance.uniform(0, 0.02))
    said = await _speak(websocket, seconds, lags)
    await websocket.send(json.dumps({"do": "hangup"}))
    await asyncio.sleep(0.2)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    measured.said += len(said)
    measured.add(person, seconds)
    for captured, sent in said:
        times = _parts(captured, sent, person, heard)
        if times is not None:
            measured.parts.append([1000 * each for each in times])


async def _speak(
    websocket: ClientConnection, seconds: float, lags: Sequence[float] | None
) -> list[tuple[float, float]]:
    """Send pieces in time; return when each click was at the microphone, and when it was sent."""
    length = PIECE / RATE
    silence = np.zeros(round(PERIOD * RATE) - _CLICK, np.int16)
    click = np.where(np.arange(_CLICK) // 8 % 2, -8_000, 8_000).astype(np.int16)
    # A click begins a piece: PERIOD is a whole number of pieces.
    round_ = np.concatenate([click, silence])
    audio = np.tile(round_, 1 + round(seconds / PERIOD))
    audio = np.concatenate([np.zeros(round(PERIOD * RATE), np.int16), audio])
    said: list[tuple[float, float]] = []
    began = _now()
    for number in range(round(seconds * RATE / PIECE)):
        piece = audio[number * PIECE : (number + 1) * PIECE]
        due = began + (number + 1) * length + (lags[number] if lags else 0.0)
        if (wait := due - _now()) > 0:
            await asyncio.sleep(wait)
        if piece[0] and number * PIECE % round(PERIOD * RATE) == 0:
            said.append((began + number * length, _now()))
        await websocket.send(piece.astype("<i2").tobytes())
    # The last may still be on its way at the end.
    return said[:-1]


def _parts(
    captured: float, sent: float, person: FollowedPerson, heard: Clicks
) -> list[float] | None:
    """Return the seconds that each part of the way took; None if the click was not heard."""
    taken = person.taken.after(sent)
    said = person.said.after(sent)
    obeyed = said and person.obeyed.after(said[0])
    begun = obeyed and person.begun.after(obeyed[0])
    came = begun and heard.after(begun[0])
    if taken is None or said is None or not obeyed or not begun or not came:
        return None
    grid = GRID / 1000
    return [
        grid,
        taken[0] - sent,
        (sent - captured) + (said[0] - taken[0]) + said[1] - grid,
        obeyed[0] - said[0],
        # A resampler may move it within a frame.
        (begun[0] - obeyed[0]) + came[1] - said[1],
        came[0] - begun[0],
    ]


@asynccontextmanager
async def phones_at(stream_url: str) -> AsyncIterator[str]:
    """Serve phones whose calls are streamed to `stream_url`; the value is their URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    # What it accepts inherits this; `mediaserver dev` has it from asyncio.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = listener.getsockname()[1]
    plan = CallPlan(Target(f"http://127.0.0.1:{port}/answer"))

    async def answer(_request: Request) -> Response:
        return Response(
            '<Response><Stream bidirectional="true" keepCallAlive="true"'
            f' contentType="audio/x-l16;rate=16000">{stream_url}</Stream></Response>',
            media_type="application/xml",
        )

    async with Sandbox(SandboxOptions()) as sandbox:
        phones = BrowserPhones(sandbox.exchange, lambda _format, _path: plan)
        app = Starlette(
            routes=[
                Route("/answer", answer, methods=["POST"]),
                WebSocketRoute("/phone", phones.serve),
            ]
        )
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="websockets-sansio"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            with followed():
                yield f"ws://127.0.0.1:{port}/phone"
        finally:
            server.should_exit = True
            await serving


# In a browser


@dataclass
class BrowserCall:
    """What a call in the browser found.

    Attributes:
        clicks: by worklet: when each was there by the clock of the audio, and when the page was
            told, in Unix time.
        own: seconds that the browser says its output takes beside that.
        underruns: times that the speaker had nothing to play.

    """

    clicks: dict[str, list[tuple[float, float]]]
    own: float
    underruns: int


BROWSER_PARTS = (PARTS[0], *PARTS[2:5], "the page, both sockets and the speaker's buffer")

_WINDOW = {"width": 390, "height": 700}
"""A small one: a machine without a graphics card draws slowly."""

_FOLLOW_WORKLET = """
{
  const register = globalThis.registerProcessor;
  globalThis.registerProcessor = (name, Made) => register(name, class extends Made {
    process(inputs, outputs, more) {
      const goes = super.process(inputs, outputs, more);
      const samples = (name === "microphone" ? inputs : outputs)[0][0] ?? [];
      this.quiet ??= 0;
      samples.forEach((sample, index) => {
        const loud = Math.abs(sample) > LOUD;
        const click = (currentFrame + index) / sampleRate;
        if (loud && this.quiet > QUIET) this.port.postMessage({ click });
        this.quiet = loud ? 0 : this.quiet + 1;
      });
      return goes;
    }
  });
}
""".replace("LOUD", str(_AUDIBLE / 32_768)).replace("QUIET", str(_QUIET * RATE))
"""Goes before a worklet's module, and tells when clicks begin, by the clock of the audio."""

_FOLLOW_PAGE = """
  const addModule = globalThis.Worklet.prototype.addModule;
  globalThis.Worklet.prototype.addModule = async function (url) {
    const text = FOLLOW_WORKLET + await (await fetch(url)).text();
    const file = new Blob([text], { type: "text/javascript" });
    return addModule.call(this, URL.createObjectURL(file));
  };
  globalThis.clicks = { microphone: [], speaker: [] };
  const Node = globalThis.AudioWorkletNode;
  globalThis.AudioWorkletNode = class extends Node {
    constructor(context, name, options) {
      super(context, name, options);
      globalThis.soundContext = context;
      this.port.start();
      this.port.addEventListener("message", (event) => {
        if (event.data.click === undefined) return;
        event.stopImmediatePropagation();
        const told = (performance.timeOrigin + performance.now()) / 1000;
        globalThis.clicks[name].push([event.data.click, told]);
      });
    }
  };
""".replace("FOLLOW_WORKLET", json.dumps(_FOLLOW_WORKLET))
"""Runs before the page's scripts."""


@contextmanager
def chromium_clicks() -> Iterator[Path]:
    """Give the file that the browser's microphone hears again and again."""
    rate = 48_000
    samples = np.zeros(round(PERIOD * rate), np.int16)
    samples[: rate // 50] = np.where(np.arange(rate // 50) // 24 % 2, -12_000, 12_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clicks.wav")
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.astype("<i2").tobytes())
        yield path


def _no_browser() -> str:
    if find_spec("playwright") is None:
        return "Playwright is not installed"
    return "" if _chromium() else "there is no Chromium"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


async def developed(use: Callable[[str], list[BrowserCall]]) -> list[BrowserCall]:
    """Run what ``mediaserver dev`` runs, with an Echo; use its page in another process."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[str] = loop.create_future()
    running = asyncio.create_task(
        run_dev(
            DevOptions(("mediaserver.agents:Echo",)),
            opened=lambda url: loop.call_soon_threadsafe(opened.set_result, url),
        )
    )
    try:
        url = await asyncio.wait_for(opened, 60)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return await loop.run_in_executor(pool, use, url)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def browser_calls(microphone: Path, count: int, seconds: float, url: str) -> list[BrowserCall]:
    """Make calls on the page, one after the other."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_chromium(),
            args=[
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        try:
            return [_browser_call(browser, url, seconds) for _ in range(count)]
        finally:
            browser.close()


def _browser_call(browser: Any, url: str, seconds: float) -> BrowserCall:
    context = browser.new_context(permissions=["microphone"], bypass_csp=True, viewport=_WINDOW)
    try:
        page = context.new_page()
        page.add_init_script(_FOLLOW_PAGE)
        page.goto(url)
        page.get_by_text("The agent is ready").wait_for(timeout=60_000)
        page.get_by_role("button", name="Call", exact=True).click()
        page.get_by_text("In a call").wait_for(timeout=20_000)
        page.wait_for_timeout(1000 * seconds)
        found = page.evaluate(
            "() => ({ clicks, own: soundContext.baseLatency + soundContext.outputLatency,"
            " underruns: mediaserverPhone.underruns })"
        )
        page.get_by_role("button", name="Hang up").click()
        page.get_by_text("The call is over").wait_for(timeout=20_000)
        return BrowserCall(**found)
    finally:
        context.close()


def _browser_parts(
    clicks: dict[str, list[tuple[float, float]]], person: FollowedPerson, wall: float
) -> list[list[float]]:
    """Return the milliseconds of the parts of each click's way.

    Args:
        clicks: by worklet: when each was there by the clock of the audio, and when the page was
            told, in Unix time.
        person: what the sandbox has followed.
        wall: Unix time less the sandbox's clock.

    """

    def told_near(worklet: str, time: float) -> float | None:
        near = [(abs(told - time - wall), at) for at, told in clicks[worklet]]
        distance, at = min(near, default=(PERIOD, 0.0))
        return at if distance < PERIOD / 2 else None

    parts = []
    for taken, _ in person.taken.found:
        said = person.said.after(taken)
        obeyed = said and person.obeyed.after(said[0])
        begun = obeyed and person.begun.after(obeyed[0])
        if said is None or not obeyed or not begun:
            continue
        spoken, heard = told_near("microphone", taken), told_near("speaker", begun[0])
        if spoken is None or heard is None or heard < spoken:
            continue
        grid = GRID / 1000
        times = [
            grid,
            PIECE / RATE + (said[0] - taken) + said[1] - grid,
            obeyed[0] - said[0],
            (begun[0] - obeyed[0]) + begun[1] - said[1],
        ]
        parts.append([1000 * each for each in (*times, heard - spoken - sum(times))])
    return parts


def main() -> int:
    """Return the exit status."""
    parser = arguments_of("browser_phone", "What a phone in the browser delays.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=20, help="calls, one after the other")
    parser.add_argument("--seconds", type=a_while, default=10.0, help="length of a call")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.seconds = 1, 3.0
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=110)


if __name__ == "__main__":
    sys.exit(main())
