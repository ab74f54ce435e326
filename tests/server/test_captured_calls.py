import asyncio
from pathlib import Path
from typing import Any

import pytest

from mediaserver import Stream
from mediaserver.captures.capture_file import read_capture
from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.captures.capture_lines import Capture
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.server.captured_calls import REPLAYED_SETTINGS, CapturedCalls
from mediaserver.settings import Settings
from mediaserver.testing import in_virtual_time, joined, run_virtual


async def echo(stream: Stream) -> None:
    async for frame in stream.audio():
        await stream.play(frame)


def call(folder: Path, *, handler: Any = echo, **options: Any) -> list[Capture]:
    """Make a call of a second, and return what was captured."""
    settings = Settings.model_construct(
        capture=folder, **{name: options.pop(name) for name in list(options) if "capture" in name}
    )

    async def talk() -> None:
        async with joined(handler, settings=settings, **options) as line:
            await line.phone.wait_until(1.0)

    run_virtual(talk())
    return [read_capture(path) for path in sorted(folder.glob("*.wire.zst"))]


def events(capture: Capture, side: str) -> list[bytes]:
    return [line.message[:20] for line in capture.lines if line.side == side]


def test_both_sides_of_the_wire_are_kept(tmp_path: Path) -> None:
    (capture,) = call(tmp_path, caller="+14155550100", called="+14155550111")
    assert capture.whole
    received, sent = events(capture, "<"), events(capture, ">")
    assert received[0].startswith(b'{"event":"start"')
    assert sum(each.startswith(b'{"event":"media"') for each in received) == 50
    assert sum(each.startswith(b'{"event":"playAudio"') for each in sent) >= 48
    assert [line.at for line in capture.lines] == sorted(line.at for line in capture.lines)


def test_the_description_has_what_a_replay_needs(tmp_path: Path) -> None:
    answer = AnswerRequest(
        call_id="", caller="+14155550100", called="+14155550111", direction="inbound"
    )
    (capture,) = call(tmp_path, answer=answer, path="/stream?shop=7")
    head = capture.head
    assert (head.handler, head.path, head.query) == ("echo", "/stream", {"shop": "7"})
    assert (head.caller, head.called) == ("+14155550100", "+14155550111")
    assert head.answer is not None
    assert head.answer["direction"] == "inbound"
    assert head.call == head.answer["call_id"]
    assert list(head.settings) == list(REPLAYED_SETTINGS)


def test_a_call_that_did_not_come_by_answer_gets_its_id_from_its_start(
    tmp_path: Path,
) -> None:
    (capture,) = call(tmp_path)
    assert capture.head.call is not None
    assert len(capture.head.call) == 36


def test_none_is_captured_if_the_share_is_nothing(tmp_path: Path) -> None:
    assert call(tmp_path, capture_share=0.0) == []


def test_the_next_call_of_a_number_is_captured_whatever_the_share(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path)
    folder.prepare()
    folder.ask_for("+14155550100")
    numbers = {"caller": "+14155550111", "called": "+14155550100"}
    assert len(call(tmp_path, capture_share=0.0, **numbers)) == 1
    assert len(call(tmp_path, capture_share=0.0, **numbers)) == 1


@pytest.mark.parametrize(("chance", "captured"), [(0.24, 1), (0.26, 0)])
def test_a_share_of_the_calls_is_captured(tmp_path: Path, chance: float, captured: int) -> None:
    settings = Settings.model_construct(capture=tmp_path, capture_share=0.25)
    calls = CapturedCalls(
        settings, "one", clock=lambda: 0.0, wall_clock=lambda: 0.0, chance=lambda: chance
    )
    live: Any = Live()
    calls.begin(live)
    assert calls.figures.calls == captured


class Live:
    """A call as far as captures know it."""

    call_id = "call-1"
    stream = None
    started_at = None

    def __init__(self) -> None:
        self.session: Any = self
        self.accepted: Any = self
        self.caller = self.called = self.answer = None
        self.route: Any = self
        self.name = "echo"
        self.path = "/stream"
        self.query: dict[str, str] = {}

    def follow(self, follower: Any) -> None:
        pass


def chosen(folder: Path) -> CapturedCalls:
    """Captures those that somebody asks for, and no others."""
    settings = Settings.model_construct(capture=folder, capture_share=0.0)
    clock = asyncio.get_running_loop().time
    return CapturedCalls(settings, "one", clock=clock, wall_clock=clock)


def live(call_id: str | None) -> Any:
    call: Any = Live()
    call.call_id, call.caller = call_id or "?", "+14155550100"
    call.accepted = AcceptedCall(call, call_id)
    return call


class AcceptedCall:
    """What is known of a stream when it is accepted."""

    def __init__(self, call: Live, call_id: str | None) -> None:
        self.call_id = call_id
        self.caller, self.called, self.answer = call.caller, call.called, None
        self.route, self.path, self.query = call.route, call.path, call.query


@in_virtual_time
async def test_a_stream_that_is_opened_again_uses_up_no_request(tmp_path: Path) -> None:
    calls = chosen(tmp_path)
    async with calls.running():
        calls.begin(live("call-1"))
        CaptureFolder(tmp_path).ask_for("+14155550100")
        await asyncio.sleep(1.01)
        calls.begin(live("call-1"))
        assert calls.figures.calls == 0
        calls.begin(live("call-2"))
        assert calls.figures.calls == 1


@pytest.mark.parametrize(("call_id", "captured"), [("call-1", 3), (None, 1)])
@in_virtual_time
async def test_further_streams_of_a_captured_call_are_captured_if_it_is_known(
    tmp_path: Path, call_id: str | None, captured: int
) -> None:
    calls = chosen(tmp_path)
    async with calls.running():
        CaptureFolder(tmp_path).ask_for("+14155550100")
        await asyncio.sleep(1.01)
        for _ in range(3):
            calls.begin(live(call_id))
        calls.begin(live("call-2"))
        assert calls.figures.calls == captured


def test_what_is_redacted_is_not_in_the_file(tmp_path: Path) -> None:
    (capture,) = call(
        tmp_path, capture_redact=("caller-audio", "numbers"), caller="+14155550100", called="+1416"
    )
    assert capture.head.redacted == ["caller-audio", "numbers"]
    assert capture.head.caller is None


def test_a_stream_that_is_opened_again_is_one_capture(tmp_path: Path) -> None:
    (capture,) = call(tmp_path, misbehaviour=Misbehaviour(drop=0.5, reopen=0.2))
    whats = [line.message for line in capture.lines if line.side == "!"]
    assert whats[0] == b'{"what":"connection lost"}'
    assert whats[1].startswith(b'{"what":"reconnected"')
    assert capture.whole


def test_decisions_of_the_handler_are_kept(tmp_path: Path) -> None:
    async def decide(stream: Stream) -> None:
        stream.decided("thinks", words="of nothing")
        await echo(stream)

    (capture,) = call(tmp_path, handler=decide)
    assert b'{"what":"thinks","words":"of nothing"}' in [line.message for line in capture.lines]
