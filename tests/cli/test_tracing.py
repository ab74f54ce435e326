import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from typer.testing import CliRunner

from mediaserver.cli import app
from mediaserver.cli.tracing import line_for_people
from tests.cli.admin_listener import AdminListener


LINES = [
    {"at": 12.3456, "what": "interrupt", "unheard": 0.52},
    {"at": 13.0, "what": "audio sent", "heard_at": 13.5, "payload": "//8="},
    {"what": "lines missed", "lines": 7},
    {"at": 13.9, "what": "loudness", "caller": [[13.0, 0.5]], "agent": []},
    {"at": 14.0, "what": "stream ended", "reason": "stop"},
]


class Followed(AdminListener):
    """An admin listener that knows one call."""

    def __init__(self, path: Path) -> None:
        self.format: str | None = "audio/x-mulaw;rate=8000"
        self.hides = False
        super().__init__(path, self._answer)

    def _answer(self, path: str) -> tuple[int, bytes]:
        if "other" in path:
            return 404, b'{"error": "no live call", "hint": "look"}'
        if "audio" in path and self.hides:
            return 403, b'{"error": "audio is personal data", "hint": "show it"}'
        if "trace" not in path:
            return 200, json.dumps({"format": self.format}).encode()
        return 200, b"".join(json.dumps(each).encode() + b"\n" for each in LINES)


@pytest.fixture
def followed() -> Iterator[Followed]:
    # The path of a Unix socket is short, and those of pytest's folders may not be.
    with TemporaryDirectory() as folder:
        followed = Followed(Path(folder, "admin.sock"))
        yield followed
        followed.close()


def trace(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["trace", *arguments])


def test_lines_are_shown_to_people() -> None:
    assert line_for_people(LINES[0]) == "   12.346  interrupt  unheard=0.52"
    assert line_for_people(LINES[2]) == "           lines missed  lines=7"
    assert line_for_people({"at": 1.0, "what": "turn", "error": None, "words": ["", "Hi"]}) == (
        "    1.000  turn  words=['', 'Hi']"
    )


def test_a_call_is_followed_to_its_end(followed: Followed) -> None:
    told = trace("call/1", "--admin", str(followed.path))
    assert told.exit_code == 0
    assert followed.asked == ["/calls/call%2F1/trace"]
    assert told.stdout.splitlines() == [
        "   12.346  interrupt  unheard=0.52",
        "           lines missed  lines=7",
        "   14.000  stream ended  reason=stop",
    ]


def test_programs_get_json(followed: Followed) -> None:
    told = trace("call-1", "--json", "--admin", str(followed.path))
    assert [json.loads(line)["what"] for line in told.stdout.splitlines()] == [
        "interrupt",
        "lines missed",
        "loudness",
        "stream ended",
    ]


def test_the_audio_is_written_to_a_file(followed: Followed, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    told = trace("call-1", "--audio", str(path), "--admin", str(followed.path))
    assert told.exit_code == 0
    assert followed.asked == ["/calls/call-1", "/calls/call-1/trace?audio=1"]
    assert path.stat().st_size > 44
    assert f"audio: {path}" in told.stderr


def test_a_server_that_refuses_audio_leaves_no_file(followed: Followed, tmp_path: Path) -> None:
    followed.hides = True
    told = trace("call-1", "--audio", str(tmp_path / "call.wav"), "--admin", str(followed.path))
    assert told.exit_code == 1
    assert "audio is personal data: show it" in told.stderr
    assert "audio: " not in told.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["other"], 1, "no live call: look"),
        (["call-1", "--audio", "call.mp3"], 2, "must end in .wav or .flac, not call.mp3"),
        (["call-1", "--audio", "/dev/null/call.wav"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_told(
    followed: Followed, arguments: list[str], status: int, said: str
) -> None:
    told = trace(*arguments, "--admin", str(followed.path))
    assert told.exit_code == status
    assert said in told.stderr


def test_a_stream_that_has_not_started_has_no_audio(followed: Followed, tmp_path: Path) -> None:
    followed.format = None
    told = trace("call-1", "--audio", str(tmp_path / "a.wav"), "--admin", str(followed.path))
    assert told.exit_code == 1
    assert "has not started" in told.stderr
