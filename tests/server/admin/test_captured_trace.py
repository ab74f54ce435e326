import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from audiocodecs import L16_16K, MULAW_8K
from mediaserver.call import StreamReport, Turn
from mediaserver.captures.capture_file import read_capture
from mediaserver.captures.capture_lines import (
    Capture,
    CapturedLine,
    CaptureError,
    CaptureHead,
    Side,
    encode_decision,
)
from mediaserver.protocol import PlayAudio, encode_command
from mediaserver.server.admin.call_trace import CallTrace
from mediaserver.server.admin.captured_trace import captured_lines
from mediaserver.server.observers import ObservedCall
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from mediaserver.testing import joined, run_virtual


async def speaks(stream: Stream) -> None:
    """Speak for a second, decide something, and be interrupted in the middle of what follows."""
    await (await stream.play(bytes(8_000), format=MULAW_8K)).heard()
    stream.decided("looks up", words="the order", order=7)
    await stream.play(bytes(16_000), format=MULAW_8K)
    await asyncio.sleep(0.5)
    stream.interrupt()
    async for _ in stream.audio():
        pass


class Follows:
    """Follows each call from its start."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.traces: list[CallTrace] = []

    def call_started(self, call: ObservedCall) -> None:
        assert call.started_at is not None
        trace = CallTrace(
            call.session, clock=self.runtime.clock, began=call.started_at, personal_data=True
        )
        trace.audio = True
        self.traces.append(trace)
        call.session.follow(trace)

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None: ...

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None: ...


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> tuple[Capture, list[Any]]:
    """A captured call, and the lines of a trace that somebody read meanwhile."""
    folder = tmp_path_factory.mktemp("captures")

    async def hold() -> list[Any]:
        settings = Settings.model_construct(capture=folder)
        async with joined(speaks, settings=settings, start=False) as line:
            follows = Follows(line.runtime)
            line.runtime.observers.add(follows)
            await line.phone.start()
            await line.phone.wait_until(3.0)
            line.phone.press("5")
            await line.phone.wait_until(3.5)
            await line.hang_up()
        (trace,) = follows.traces
        return [json.loads(line) for line in trace.take(0, 10**9, audio=True).lines]

    lines = run_virtual(hold())
    (path,) = folder.glob("*.wire.zst")
    return read_capture(path), lines


def read(capture: Capture, *, personal_data: bool = True, audio: bool = True) -> list[Any]:
    lines = captured_lines(capture.head, capture.lines, personal_data=personal_data, audio=audio)
    return [json.loads(line) for line in lines]


OF_THE_PROCESS = ("media", "underrun", "producer gap", "received audio dropped", "frames lost")


def of_both(lines: list[Any]) -> Iterator[Any]:
    """The lines that do not come from what a live process knows alone, or before its trace."""
    for line in lines:
        if line["what"] not in OF_THE_PROCESS and line.get("event") != "Start":
            yield line


def test_the_lines_are_those_of_a_trace(call: tuple[Capture, list[Any]]) -> None:
    capture, live = call
    kept = list(of_both(read(capture)))
    expected = list(of_both(live))
    assert {each["what"] for each in kept} >= {
        "audio received",
        "audio sent",
        "audio cut",
        "looks up",
        "received",
        "stream ended",
    }
    for one, other in zip(kept, expected, strict=True):
        times = {
            name: pytest.approx(one[name], abs=0.03) for name in ("at", "heard_at") if name in one
        }
        assert other == one | times


def test_without_audio_its_seconds_are_summed_up(call: tuple[Capture, list[Any]]) -> None:
    lines = read(call[0], audio=False)
    assert not any("payload" in line for line in lines)
    assert sum(line["received"] for line in lines if line["what"] == "media") > 100


def test_without_personal_data_words_and_keys_are_hidden(call: tuple[Capture, list[Any]]) -> None:
    lines = read(call[0], personal_data=False, audio=False)
    (decided,) = (line for line in lines if line["what"] == "looks up")
    assert (decided["words"], decided["order"]) == ("…", 7)
    (key,) = (line for line in lines if line.get("event") == "Dtmf")
    assert key["digit"] == "…"


def test_a_line_that_nobody_understands_is_told_or_left_out() -> None:
    sides: list[tuple[Side, bytes]] = [
        ("<", b"?"),
        ("!", b"?"),
        ("!", b'{"a":' + b"[" * 10_000),
        (">", b"?"),
        ("!", b'{"what":"a"}'),
    ]
    lines = [CapturedLine(0.5, side, message) for side, message in sides]
    found = read(Capture(CaptureHead(), lines))
    assert [each["what"] for each in found] == ["received", "?", "?", "a", "trace ended"]


@pytest.mark.parametrize(
    ("default", "seconds"),
    [(str(L16_16K), 0.02), (str(MULAW_8K), 0.08), ("audio/ogg", 0.08), ([], 0.08)],
)
def test_without_a_format_in_the_start_that_of_the_settings_counts(
    default: Any, seconds: float
) -> None:
    head = CaptureHead(settings={"default_format": default})
    sent = encode_command(PlayAudio(bytes(640), MULAW_8K))
    lines = [CapturedLine(0.0, ">", sent)] * 2
    told = captured_lines(head, lines, personal_data=True, audio=True)
    heard = [line["heard_at"] for line in map(json.loads, told) if "heard_at" in line]
    assert heard == [0.0, seconds]


def ends(*lines: CapturedLine, damaged: bool = False) -> str:
    def wire() -> Iterator[CapturedLine]:
        yield from lines
        if damaged:
            raise CaptureError("line 7 of the capture is b'a secret'")

    *_, last = captured_lines(CaptureHead(), wire(), personal_data=True, audio=False)
    return str(json.loads(last).get("reason"))


def test_the_last_line_says_why_a_capture_ends_before_its_call() -> None:
    ended, stopped = (
        CapturedLine(1.0, "!", encode_decision(what, {"reason": "the caller hung up"}))
        for what in ("capture ended", "stream ended")
    )
    assert "not finished" in ends()
    assert ends(ended) == "the capture ends here: the caller hung up"
    assert ends(damaged=True) == "the capture is damaged from here on"
    assert ends(stopped, ended) == "the caller hung up"
    full = CapturedLine(1.0, "!", encode_decision("capture full", {}))
    assert ends(full).endswith("captures took all of --capture-megabytes")
