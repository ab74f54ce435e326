import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from audiocodecs import read_wav
from mediaserver.agents import Echo
from mediaserver.captures.capture_file import read_capture
from mediaserver.captures.capture_lines import encode_head, encode_line
from mediaserver.cli import app
from mediaserver.testing import run_virtual
from tests.replay.captured import captured, two_seconds


OTHER = "import asyncio\n\nasync def agent(stream):\n    await asyncio.sleep(1)\n"
STUCK = """
import asyncio

async def agent(stream):
    while True:
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            pass
"""
UNOPENED = """
from contextlib import asynccontextmanager

from mediaserver import Handler

class agent(Handler):
    @classmethod
    @asynccontextmanager
    async def lifespan(cls):
        raise RuntimeError("there is no database")
        yield
"""
FAILING = "async def agent(stream):\n    raise ValueError('no line is free')\n"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return captured(tmp_path / "captures", Echo, two_seconds)


def agent(folder: Path, text: str) -> str:
    """Write a handler to a file whose name no other module has."""
    path = folder / f"agent_{uuid4().hex}.py"
    path.write_text(text)
    return f"{path}:agent"


def replay(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def test_the_same_code_is_heard_alike(capture: Path) -> None:
    done = replay(capture, "mediaserver.agents:Echo")
    assert done.exit_code == 0, done.output
    assert "the caller hears the same audio, sample for sample" in done.stdout
    assert "audio heard" in done.stdout


def test_other_code_is_heard_differently(tmp_path: Path, capture: Path) -> None:
    done = replay(capture, agent(tmp_path, OTHER))
    # Echo sends silence as audio, which is nothing else than no audio: both are not heard.
    assert done.exit_code == 0, done.output
    done = replay(capture, agent(tmp_path, FAILING))
    assert (done.exit_code, "the handler raised ValueError" in done.stdout) == (1, True)


def test_the_comparison_can_be_read_by_programs(capture: Path) -> None:
    done = replay(capture, "mediaserver.agents:Echo", "--json")
    fields = json.loads(done.stdout)
    assert fields["heard_alike"] is True
    assert {"name": "gaps", "captured": 0, "replayed": 0} in fields["figures"]


def test_audio_and_a_picture_are_written(tmp_path: Path, capture: Path) -> None:
    pytest.importorskip("matplotlib")
    wav, png = tmp_path / "heard.wav", tmp_path / "call.png"
    done = replay(capture, "mediaserver.agents:Echo", "--audio", wav, "--picture", png)
    assert done.exit_code == 0, done.output
    assert read_wav(wav).samples.shape == (16_000, 2)
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_test_is_written(tmp_path: Path, capture: Path) -> None:
    path = tmp_path / "tests" / "test_a_call.py"
    done = replay(capture, "mediaserver.agents:Echo", "--to-test", path)
    assert done.exit_code == 0, done.output
    assert "from mediaserver.agents import Echo" in path.read_text()
    again = replay(capture, "mediaserver.agents:Echo", "--to-test", path)
    assert (again.exit_code, "there is a file by that name" in again.stderr) == (2, True)


def test_a_test_that_needs_virtual_time_though_the_replay_did_not_is_told(
    tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio, "run", run_virtual)
    options = ("mediaserver.agents:Echo", "--real-time", "--to-test", tmp_path / "test_a_call.py")
    assert "in virtual time" in replay(capture, *options).stderr


def test_a_capture_without_an_end_is_told(tmp_path: Path, capture: Path) -> None:
    whole = read_capture(capture)
    path = tmp_path / "cut.wire"
    lines = [encode_line(each.at, each.side, each.message) for each in whole.lines[:-2]]
    path.write_bytes(encode_head(whole.head) + b"".join(lines))
    assert "the capture has no end" in replay(path, "mediaserver.agents:Echo").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--picture", "a.jpg"), "--picture must end in .png"),
        (("--audio", "a.mp3"), "--audio must end in .wav"),
        (("--to-test", "test_a_call.py"), "--to-test"),
        (("--audio", f"/{'a' * 300}.wav"), "cannot be written"),
    ],
)
def test_a_wrong_file_is_an_error(
    tmp_path: Path, capture: Path, arguments: tuple[str, str], message: str
) -> None:
    done = replay(capture, agent(tmp_path, OTHER), *arguments)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output


def test_what_is_no_capture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "call.wire.zst").write_bytes(b"RIFF")
    done = replay(tmp_path / "call.wire.zst", "mediaserver.agents:Echo")
    assert (done.exit_code, "not a capture" in done.stderr) == (2, True)
    missing = replay(tmp_path / "none.wire.zst", "mediaserver.agents:Echo")
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (2, True)


def test_an_unknown_handler_is_an_error(capture: Path) -> None:
    done = replay(capture, "mediaserver.agents:Nobody")
    assert (done.exit_code, "Nobody" in done.stderr) == (2, True)


def test_a_handler_that_waits_for_the_outside_is_told_how(tmp_path: Path, capture: Path) -> None:
    done = replay(capture, agent(tmp_path, STUCK))
    assert (done.exit_code, "--real-time" in done.stderr) == (2, True)


def test_what_the_handler_raised_is_told_once_in_a_line_of_its_own(
    tmp_path: Path, capture: Path
) -> None:
    done = replay(capture, agent(tmp_path, FAILING))
    assert done.stdout.endswith("\n\nthe handler raised ValueError('no line is free')\n")
    assert done.stdout.count("raised") == 1
    assert "\\n" not in done.stdout


def test_what_cannot_become_a_test_is_refused_before_the_call(
    tmp_path: Path, capture: Path
) -> None:
    done = replay(capture, agent(tmp_path, OTHER), "--to-test", tmp_path / "test_a_call.py")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "imports its handler as package.module:Name" in done.stderr


@pytest.mark.parametrize("option", ["--audio", "--picture"])
def test_a_folder_that_is_not_there_is_told_before_the_call(
    tmp_path: Path, capture: Path, option: str
) -> None:
    if option == "--picture":
        pytest.importorskip("matplotlib")
    name = "a.wav" if option == "--audio" else "a.png"
    done = replay(capture, "mediaserver.agents:Echo", option, tmp_path / "none" / name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{option}: there is no folder" in done.stderr


def test_a_lifespan_that_fails_is_told_as_the_handlers_fault(tmp_path: Path, capture: Path) -> None:
    done = replay(capture, agent(tmp_path, UNOPENED))
    assert done.exit_code == 2, done.output
    assert "since the lifespan of agent failed: " in done.stderr
    assert "RuntimeError: there is no database" in done.stderr


TONE = """
import asyncio

async def agent(stream):
    await asyncio.sleep({wait})
    await stream.play(bytes(range(1, 101)) * 40)
    await asyncio.sleep(1)
"""


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A call in which something is heard."""
    names: dict[str, Any] = {}
    exec(TONE.format(wait=0.2), names)
    return captured(tmp_path / "tones", names["agent"], lambda line: line.phone.wait_closed())


def later(folder: Path) -> str:
    return agent(folder, TONE.format(wait=0.22))


def test_audio_that_is_late_is_the_same_within_a_tolerance(tmp_path: Path, tone: Path) -> None:
    handler = later(tmp_path)
    exact = replay(tone, handler)
    assert exact.exit_code == 1, exact.output
    assert "--tolerance 0.02 takes that for the same" in exact.stdout
    done = replay(tone, handler, "--tolerance", "0.02")
    assert done.exit_code == 0, done.output
    assert "up to 20 ms earlier or later" in done.stdout
    fields = json.loads(replay(tone, handler, "--tolerance", "0.02", "--json").stdout)
    assert (fields["tolerance"], fields["largest_shift"]) == (0.02, 0.02)
    assert fields["shifts"][0]["shift"] == 0.02


def test_a_test_gets_the_tolerance_that_it_needs(
    tmp_path: Path, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "tests"
    for wait, expected, told in (
        (0.22, ", tolerance=0.02)", "it has tolerance=0.02"),
        (0.9, "agent)", "it fails as long as"),
    ):
        name = f"agent_{uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(TONE.format(wait=wait))
        path = folder / f"test_{name}.py"
        done = replay(tone, f"{name}:agent", "--to-test", path)
        assert done.exit_code == 1, done.output
        assert told in done.stderr
        assert expected in path.read_text()


def test_a_capture_that_ended_before_its_call_is_told(tmp_path: Path, capture: Path) -> None:
    whole = read_capture(capture)
    path = tmp_path / "full.wire"
    lines = [encode_line(each.at, each.side, each.message) for each in whole.lines[:-2]]
    lines.append(encode_line(3.0, "!", b'{"what":"capture full"}'))
    path.write_bytes(encode_head(whole.head) + b"".join(lines))
    assert "ends before its call" in replay(path, "mediaserver.agents:Echo").stdout
