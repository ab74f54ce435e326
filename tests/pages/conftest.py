"""A Chromium with a recording as its microphone, where `make browser` runs the tests."""

import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.chromium import launched
from tests.pages.fake_server import FakeServer


TONE = 440.0
"""Hz of what the microphone hears."""


def until(page: Any, holds: Callable[[], object]) -> None:
    """Wait until something holds that the server knows."""
    for _ in range(1000):
        if holds():
            return
        page.wait_for_timeout(10)
    raise AssertionError("it did not come to hold in ten seconds")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    """Return what starts browsers; a process has one."""
    if not os.environ.get("MEDIASERVER_TESTS_NEED_BROWSER"):
        pytest.skip("make browser runs this, with a Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(playwright: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a browser whose microphone hears a tone."""
    with launched(playwright, _tone(tmp_path_factory.mktemp("microphone"))) as browser:
        yield browser


def _tone(folder: Path) -> Path:
    samples = 0.5 * 32767 * np.sin(2 * np.pi * TONE * np.arange(48_000) / 48_000)
    with wave.open(str(folder / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return folder / "tone.wav"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Return a server of the page."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def opened(chromium: Any, server: FakeServer) -> Iterator[Callable[..., Any]]:
    """Return what opens the page; at the end nothing may have gone wrong in it."""
    wrong: list[str] = []
    contexts = []

    def open_page(
        fragment: str = "",
        *,
        host: str = "127.0.0.1",
        quiet: tuple[str, ...] = ("willReadFrequently",),
        **how: Any,
    ) -> Any:
        url = server.url.replace("127.0.0.1", host)
        context = chromium.new_context(**{"permissions": ["microphone"], **how})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()

        def told(message: Any) -> None:
            if message.type in ("error", "warning") and not any(q in message.text for q in quiet):
                wrong.append(message.text)

        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))

        def asked(request: Any) -> None:
            if not request.url.startswith((url, "blob:", "data:")):
                wrong.append(f"asks elsewhere: {request.url}")

        page.on("request", asked)
        page.goto(url + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
