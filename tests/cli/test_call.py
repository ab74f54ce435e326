import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audiocodecs import read_wav
from mediaserver.sandbox import CallOptions, Phone
from mediaserver.stream import Stream
from mediaserver.testing import joined, run_virtual
from tests.cli.processes import Run
from tests.cli.stream_listener import interrupted


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


def test_misbehaviours_are_listed(run: Run) -> None:
    result = run("call", "ws://127.0.0.1:1/", "--misbehave", "help")
    assert result.exit_code == 0
    assert "garbage" in result.stdout
