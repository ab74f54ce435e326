from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audiocodecs import Wav, write_wav
from interop.application import Application
from interop.plivo_sandbox import AUTH_TOKEN, PlivoSandbox
from interop.process import Process
from interop.servers.report import VARIABLE
from interop.sound import sweep


@pytest.fixture
def application() -> Iterator[Application]:
    with Application(AUTH_TOKEN) as running:
        yield running
        assert running.unsigned == []


@pytest.fixture
def reporting(application: Application) -> dict[str, str]:
    """Environment with which servers report to the application what happens to them."""
    return {VARIABLE: application.url}


@pytest.fixture
def sandbox(application: Application, tmp_path: Path) -> Iterator[PlivoSandbox]:
    """A sandbox whose people say nothing and stay on the phone."""
    with PlivoSandbox(application, tmp_path, phone="wait 120") as running:
        yield running


@pytest.fixture(scope="session")
def rising() -> Wav:
    return sweep(300, 1800)


@pytest.fixture
def rising_file(rising: Wav, tmp_path: Path) -> Path:
    path = tmp_path / "rising.wav"
    write_wav(path, rising.samples, rising.rate)
    return path


@pytest.fixture
def sdk_websockets(reporting: dict[str, str]) -> Iterator[Process]:
    with Process(
        "python", "-m", "interop.servers.sdk_websockets", environment=reporting
    ) as running:
        yield running
