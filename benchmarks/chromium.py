"""A real Chromium for the page: its microphone hears a recording, and what goes wrong is noted."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from audiocodecs import Samples
from benchmarks.errors import BenchmarkError


LAPTOP, TELEPHONE = {"width": 1366, "height": 800}, {"width": 390, "height": 800}

LIMIT = 60.0
"""Seconds within which what is waited for must come."""


@contextmanager
def chromium(recording: Path) -> Iterator[Any]:
    """Run a browser whose microphone hears a WAV file, over and over, from when it is opened.

    Raises:
        BenchmarkError: It is not installed.

    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise BenchmarkError(f"{error.name} is not installed: run make browser first") from None
    with sync_playwright() as playwright, launched(playwright, recording) as browser:
        yield browser


@contextmanager
def launched(playwright: Any, recording: Path) -> Iterator[Any]:
    """Run a browser with a Playwright that runs already; as `chromium`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise BenchmarkError("there is no Chromium: run make browser first")
    browser = playwright.chromium.launch(
        executable_path=program,
        args=[
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={recording}",
            "--autoplay-policy=no-user-gesture-required",
            # A page of another machine.
            "--host-resolver-rules=MAP elsewhere.test 127.0.0.1",
        ],
    )
    try:
        yield browser
    finally:
        browser.close()


class WatchedPage:
    """The page in a browser, and what goes wrong in it.

    Args:
        browser: opens it, in a context of its own.
        url: where the page is served.
        how: options of the context.

    Attributes:
        page: Playwright's page.
        context: its context.
        console: errors and warnings of the console, and what scripts threw.
        elsewhere: requests to other hosts.
        line: what the server tells the page's phone.

    """

    def __init__(self, browser: Any, url: str, **how: Any) -> None:
        self.console: list[str] = []
        self.elsewhere: list[str] = []
        self.line = PhoneLine()
        self.context = browser.new_context(permissions=["microphone"], **how)
        self.context.set_default_timeout(1000 * LIMIT)
        self.page = page = self.context.new_page()
        self._url = url
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", self._asked)
        page.on("websocket", self.line.listen)
        page.goto(url)

    def _told(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            self.console.append(f"{message.type}: {message.text} ({where})")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self._url, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds.

        Raises:
            BenchmarkError: It did not come to hold within the limit.

        """
        ends = monotonic() + LIMIT
        while not holds():
            if monotonic() > ends:
                raise BenchmarkError(f"not within {LIMIT:g} s: {what}")
            self.page.wait_for_timeout(20)

    def violations(self) -> list[str]:
        """Return what axe finds that keeps people from using what is shown now."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]

    def close(self) -> None:
        """Close the page."""
        self.context.close()


class PhoneLine:
    """What a server tells the phone of a page, read from the page's own WebSocket.

    Attributes:
        told: the messages.
        frames: the audio, 20 ms at 16 kHz each, of the latest call.
        first_sound: when the first audible frame of the latest call came, by `monotonic`; None
            before.

    """

    AUDIBLE = 1000

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.first_sound: float | None = None

    def listen(self, websocket: Any) -> None:
        """Listen to a WebSocket of Playwright's."""
        websocket.on("framereceived", self._take)

    def _take(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            message = json.loads(payload)
            if message["what"] in ("ringing", "incoming"):
                self.frames, self.first_sound = [], None
            self.told.append(message)
            return
        self.frames.append(payload)
        if self.first_sound is None and self._loudest(payload) > self.AUDIBLE:
            self.first_sound = monotonic()

    @staticmethod
    def _loudest(frame: bytes) -> int:
        return int(np.abs(np.frombuffer(frame, "<i2").astype(np.int32)).max())

    @property
    def audio(self) -> Samples:
        """All that was heard in the latest call."""
        return np.frombuffer(b"".join(self.frames), "<i2").astype(np.int16)

    def measured(self, call: str, kind: str) -> list[dict[str, Any]]:
        """Return what the phone measured of one kind in a call."""
        return [
            each
            for each in self.told
            if each["what"] == "measured" and each["kind"] == kind and each["call"] == call
        ]
