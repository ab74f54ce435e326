import json

import numpy as np
import pytest
from matplotlib.image import imread

from audiocodecs import read_wav
from mediaserver.demo import command, run
from mediaserver.demo.command import summarise
from mediaserver.demo.scene import Scene
from mediaserver.demo.verdict import Check, judge, likeness
from mediaserver.sandbox import CallFailed
from mediaserver.sandbox.espeak import SpeechError


@pytest.fixture
def performed(monkeypatch, perform, scene):
    """Have the command's call be one in virtual time."""
    call = perform()
    monkeypatch.setattr(Scene, "spoken", lambda: scene)
    monkeypatch.setattr(command, "_call", lambda scene, console: call)
    return call


def test_a_whole_call_in_real_time(tmp_path, capfd, scene):
    output = tmp_path / "new" / "demo-output"
    status = run(output, as_json=True)
    printed, told = capfd.readouterr()
    assert status == 0, told
    document = json.loads(printed)
    assert document == json.loads((output / "report.json").read_text("utf-8"))
    assert document["passed"] is True
    assert document["call"]["duration"] < 20
    assert document["figures"]["gaps_seconds"] == 0.0
    assert 'says: "Thank you. Goodbye!"' in told
    assert str(output / "call.wav") in told

    wav = read_wav(output / "call.wav")
    assert wav.rate == 8000
    assert wav.samples.shape == (round(document["call"]["duration"] * 8000), 2)
    (start, end), (again, done) = document["call"]["caller_speech"]
    farewell = wav.samples[round(again * 8000) : round(done * 8000), 0]
    assert likeness(wav.samples[round(done * 8000) :, 1], farewell) > 0.95
    assert np.abs(wav.samples[round(start * 8000) : round(end * 8000), 1]).max() == 0
    assert imread(output / "call.png").shape[1] > 1000
    assert {each.name for each in output.iterdir()} == {"call.wav", "call.png", "report.json"}


def test_everything_is_printed_to_stdout_but_what_is_wrong(performed, tmp_path, capfd):
    assert run(tmp_path) == 0
    printed, told = capfd.readouterr()
    assert "the key silences it" in printed
    assert told == ""


def test_what_is_wrong_is_said_and_the_files_are_written(performed, tmp_path, capfd, monkeypatch):
    wrong = [Check("the key silences it", False, "it did not happen")]
    monkeypatch.setattr(command, "judge", lambda report, scene: wrong)
    assert run(tmp_path) == 1
    assert capfd.readouterr().err == (
        "mediaserver: not as it should be: the key silences it: it did not happen\n"
    )
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["passed"] is False
    assert (tmp_path / "call.png").exists()


@pytest.mark.parametrize(
    "error", [CallFailed(503, "full"), SpeechError("there is no voice 'en-uk'")]
)
def test_a_call_that_cannot_be_held_is_said(tmp_path, capfd, monkeypatch, error):
    def call(scene, console):
        raise error

    monkeypatch.setattr(command, "_call", call)
    assert run(tmp_path) == 1
    assert capfd.readouterr().err == f"mediaserver: the demo could not be held: {error}\n"


def test_a_folder_that_cannot_be_made_is_said_before_the_call(tmp_path, capfd):
    taken = tmp_path / "demo-output"
    taken.write_text("mine")
    assert run(taken) == 1
    assert f"cannot write to {taken}" in capfd.readouterr().err
    assert taken.read_text() == "mine"


def test_a_file_that_cannot_be_written_is_said(performed, tmp_path, capfd):
    (tmp_path / "call.png").mkdir()
    assert run(tmp_path) == 1
    assert f"cannot write to {tmp_path}" in capfd.readouterr().err


def test_the_report_is_plain_json_with_times_rounded(perform, scene):
    moments, report = perform()
    document = summarise(report, moments, judge(report, scene))
    assert json.loads(json.dumps(document)) == document
    assert document["call"]["format"] == "audio/x-mulaw;rate=8000"
    assert [each["who"] for each in document["moments"][:2]] == ["caller", "agent"]
    assert document["figures"]["silence_seconds"] == 0.02
    assert all(check["passed"] for check in document["checks"])
