import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

import mediaserver.demo
from audiocodecs import read_wav
from mediaserver.demo import command, run
from mediaserver.demo.agent import HOLD
from mediaserver.demo.command import summarise
from mediaserver.demo.moment import Moment
from mediaserver.demo.scene import CHANGE, OFFER, REQUEST, Scene
from mediaserver.demo.verdict import Check, judge
from mediaserver.espeak import SpeechError
from mediaserver.sandbox import CallFailed, CallReport


@pytest.fixture
def in_virtual_time(
    monkeypatch: pytest.MonkeyPatch, performed: tuple[Scene, list[Moment], CallReport]
) -> None:
    """Have the command's call be one in virtual time."""
    scene, moments, report = performed
    monkeypatch.setattr(Scene, "spoken", lambda: scene)
    monkeypatch.setattr(command, "_call", lambda scene, console: (moments, report))


ON_ANY_MACHINE = {
    "the request is understood",
    "the change is understood",
    "the goodbye is understood",
    "a tool is used",
    "no service fails",
    "the phone has no objections",
    "the agent hangs up within 60 s",
}
"""The checks that do not judge the machine as well. A busy one leaves gaps, and is late."""


def test_a_whole_call_in_real_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "demo-output"
    status = run(output, as_json=True)
    printed, told = capfd.readouterr()
    document = json.loads(printed)
    passed = {check["name"]: check["passed"] for check in document["checks"]}
    assert all(passed[name] for name in ON_ANY_MACHINE), told
    assert (status, document["passed"]) == ((0, True) if all(passed.values()) else (1, False))
    assert document == json.loads((output / "report.json").read_text("utf-8"))
    assert [turn["caller"] for turn in document["turns"]][1:3] == [REQUEST, CHANGE]
    assert f'understands: "{CHANGE}"' in told
    assert str(output / "call.wav") in told

    wav = read_wav(output / "call.wav")
    assert wav.rate == 8000
    assert wav.samples.shape == (round(document["call"]["duration"] * 8000), 2)
    (start, end), *_ = document["call"]["caller_speech"]
    assert np.abs(wav.samples[round(start * 8000) : round(end * 8000), 1]).max() == 0
    assert imread(output / "call.png").shape[1] > 1000
    assert {each.name for each in output.iterdir()} == {"call.wav", "call.png", "report.json"}


def test_everything_is_printed_to_stdout_but_what_is_wrong(
    in_virtual_time: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    printed, told = capfd.readouterr()
    assert "the interruption silences it" in printed
    assert told == ""


def test_what_is_wrong_is_said_and_the_files_are_written(
    in_virtual_time: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = [Check("a tool is used", False, "nothing was")]
    monkeypatch.setattr(command, "judge", lambda report, scene: wrong)
    assert run(tmp_path) == 1
    assert capfd.readouterr().err == ("mediaserver: check failed: a tool is used: nothing was\n")
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["passed"] is False
    assert (tmp_path / "call.png").exists()


@pytest.mark.parametrize(
    "error", [CallFailed(503, "full"), SpeechError("there is no voice 'en-uk'")]
)
def test_a_call_that_cannot_be_held_is_said(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: CallFailed | SpeechError,
) -> None:
    def call(scene: Scene, console: Console) -> None:
        raise error

    monkeypatch.setattr(command, "_call", call)
    assert run(tmp_path) == 1
    assert capfd.readouterr().err == f"mediaserver: the demo failed: {error}\n"


def test_a_folder_that_cannot_be_made_is_said_before_the_call(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "demo-output"
    taken.write_text("mine")
    assert run(taken) == 1
    assert f"cannot write to {taken}" in capfd.readouterr().err
    assert taken.read_text() == "mine"


def test_a_file_that_cannot_be_written_is_said(
    in_virtual_time: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "call.png").mkdir()
    assert run(tmp_path) == 1
    assert f"cannot write to {tmp_path}" in capfd.readouterr().err


def test_the_report_is_plain_json_with_times_rounded(
    performed: tuple[Scene, list[Moment], CallReport],
) -> None:
    scene, moments, report = performed
    document = summarise(report, scene, moments, judge(report, scene))
    assert json.loads(json.dumps(document)) == document
    assert document["call"]["format"] == "audio/x-mulaw;rate=8000"
    assert [each["who"] for each in document["moments"][:2]] == ["caller", "agent"]
    assert 0 < document["figures"]["silence_seconds"] <= 0.2
    assert all(check["passed"] for check in document["checks"])


def test_the_report_has_the_turns_and_what_is_remembered_of_them(
    performed: tuple[Scene, list[Moment], CallReport],
) -> None:
    scene, moments, report = performed
    document = summarise(report, scene, moments, [])
    greeting, first, second, third = document["turns"]
    assert greeting["end_of_turn"] is None
    assert [each["end_of_turn"] for each in (first, second, third)] == [0.6] * 3
    assert [each["interrupted"] for each in (first, second, third)] == [True, False, False]
    assert first["usage"]["speech_seconds"] > 3
    (kept,) = (
        each["text"].removeprefix(HOLD).strip()
        for each in document["conversation"]
        if each["kind"] == "Text" and each["text"].startswith(HOLD)
    )
    assert OFFER.startswith(kept)
    assert [each["name"] for each in document["conversation"] if each["kind"] == "ToolCall"] == [
        "find_table",
        "hang_up",
    ]


def test_a_report_of_a_call_that_never_was_can_be_written(
    performed: tuple[Scene, list[Moment], CallReport],
) -> None:
    scene, _, report = performed
    document = summarise(replace(report, recording=None, interrupts=[]), scene, [], [])
    assert document["figures"]["silence_seconds"] is None


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.reload(mediaserver.demo)
    assert missing.value.name == "espeakng_loader"
