import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets import ServerConnection

from audiocodecs import L16_16K, AudioError, read_wav, write_wav
from mediaserver.protocol import Dtmf, Media, PlayAudio, Start, decode_event, encode_command
from mediaserver.sandbox import (
    CallFailed,
    CallOptions,
    CallReport,
    KeyPress,
    Misbehaviour,
    Phone,
    place_call,
)
from mediaserver.sandbox.phone.place_call import GREETED_AFTER, GREETING_WITHIN
from mediaserver.testing import run_virtual


async def echo(connection: ServerConnection) -> None:
    """Say back what is heard, and end the call at a key."""
    async for message in connection:
        match decode_event(message):
            case Start(media_format=media_format):
                assert media_format
                format = media_format
            case Media(payload=payload):
                echoed = encode_command(PlayAudio(payload, format)).decode()
                await connection.send(echoed)
            case Dtmf():
                await connection.close()


@pytest.fixture
def called(serving: Callable[..., Any]) -> Callable[..., CallReport]:
    """Place a call to a handler, with options of `CallOptions`; return its report."""

    def run(
        handler: Callable[..., Any] = echo,
        watch: Callable[[Phone], object] | None = None,
        epoch: float | None = None,
        **options: Any,
    ) -> CallReport:
        async def scenario() -> CallReport:
            async with serving(handler) as url:
                return await place_call(CallOptions(url, **options), watch=watch, epoch=epoch)

        return run_virtual(scenario())

    return run


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    samples = (9000 * np.sin(np.arange(4410) * 0.1)).astype(np.int16)
    write_wav(tmp_path / "in.wav", np.stack([samples, samples], axis=1), 44_100)
    return tmp_path / "in.wav"


def test_a_call_from_file_to_files(
    called: Callable[..., CallReport], tone: Path, tmp_path: Path
) -> None:
    report = called(
        audio=tone,
        record=tmp_path / "out.wav",
        report=tmp_path / "report.json",
        format=L16_16K,
        silence=0.1,
    )
    recording = read_wav(tmp_path / "out.wav")
    assert recording.rate == 16_000
    assert recording.samples.shape == (round(report.duration * 16_000), 2)
    assert recording.samples.any(axis=0).all()
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report.to_dict()
    assert report.ended_by == "caller"


def test_keys_are_pressed_at_their_times(called: Callable[..., CallReport]) -> None:
    report = called(presses=(KeyPress("2", 60.0), KeyPress("1", 0.04)))
    assert [key.digit for key in report.keys_pressed] == ["1"]
    assert report.keys_pressed[0].time >= 0.04
    assert report.ended_by == "server"


def test_a_caller_may_let_the_agent_greet_first(
    called: Callable[..., CallReport], tone: Path
) -> None:
    greeting = (9000 * np.sin(np.arange(4000) * 0.1)).astype(np.int16)

    async def greet(connection: ServerConnection) -> None:
        async for message in connection:
            match decode_event(message):
                case Start(media_format=format):
                    assert format
                    played = PlayAudio(format.encode(greeting), format)
                    await connection.send(encode_command(played).decode())

    report = called(greet, audio=tone, after_greeting=True, silence=0.1)
    ((_, greeted),) = report.agent_speech
    (said,) = report.caller_speech
    assert said[0] >= greeted + GREETED_AFTER
    assert report.ended_by == "caller"


def test_a_caller_does_not_wait_for_a_greeting_for_ever(
    called: Callable[..., CallReport], tone: Path
) -> None:
    report = called(audio=tone, after_greeting=True, silence=0.1)
    ((began, _),) = report.caller_speech
    assert began == pytest.approx(GREETING_WITHIN + GREETED_AFTER, abs=0.03)


@pytest.mark.parametrize("seconds", [0.1, None])
def test_a_call_is_capped(
    called: Callable[..., CallReport], monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    monkeypatch.setattr("mediaserver.sandbox.phone.place_call.LONGEST_CALL", 5.0)
    report = called(seconds=seconds, presses=(KeyPress("1", 60.0),))
    assert (report.ended_by, report.keys_pressed) == ("caller", [])
    assert report.duration == pytest.approx(seconds or 5.0)


def test_a_call_can_be_watched(called: Callable[..., CallReport]) -> None:
    seen: list[Phone] = []
    report = called(silence=0.02, watch=seen.append)
    assert seen[0].started
    assert seen[0].url == report.url


def test_extra_headers_misbehaviour_and_epoch_reach_the_wire(
    called: Callable[..., CallReport],
) -> None:
    received: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request
        received.append(connection.request.headers["X-Test"])
        received.extend([await connection.recv(), await connection.recv()])

    called(
        handler,
        epoch=1_700_000_000.0,
        misbehaviour=Misbehaviour(string_numbers=True),
        extra_headers={"agent": "7"},
        headers={"X-Test": "yes"},
    )
    header, start, media = received
    assert header == "yes"
    assert json.loads(start)["sequenceNumber"] == "1"
    assert json.loads(start)["extra_headers"] == "{X-PH-agent: 7}"
    assert json.loads(media)["media"]["timestamp"] == "1700000000000"


async def test_a_file_that_is_no_audio_is_refused_before_calling(tmp_path: Path) -> None:
    (tmp_path / "in.wav").write_text("hello")
    with pytest.raises(AudioError):
        await place_call(CallOptions("ws://127.0.0.1:1/", audio=tmp_path / "in.wav"))


def test_a_call_that_is_broken_off_writes_its_files(
    serving: Callable[..., Any], tone: Path, tmp_path: Path
) -> None:
    recording, written = tmp_path / "out.wav", tmp_path / "report.json"

    async def scenario() -> None:
        taken: asyncio.Queue[Phone] = asyncio.Queue()
        async with serving(echo) as url:
            options = CallOptions(url, audio=tone, record=recording, report=written, silence=60.0)
            call = asyncio.create_task(place_call(options, watch=taken.put_nowait))
            phone = await taken.get()
            await phone.wait_until(await phone.wait_for_audio() + 0.1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run_virtual(scenario())
    assert read_wav(recording).samples.any(axis=0).all()
    report = json.loads(written.read_text("utf-8"))
    assert (report["ended_by"], report["close_code"]) == ("caller", 1000)


async def test_a_call_not_taken_writes_no_files(tmp_path: Path) -> None:
    options = CallOptions("ws://127.0.0.1:1/", record=tmp_path / "out.wav")
    with pytest.raises(CallFailed):
        await place_call(options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "press"),
    [
        ("3@2.5", KeyPress("3", 2.5)),
        ("12#@0", KeyPress("12#", 0.0)),
        (" a@.5s ", KeyPress("A", 0.5)),
    ],
)
def test_key_presses_are_parsed(text: str, press: KeyPress) -> None:
    assert KeyPress.parse(text) == press


@pytest.mark.parametrize("text", ["3", "3@", "@3", "3@soon", "3@-1", ""])
def test_key_presses_written_otherwise_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"KEYS@SECONDS, such as 3@2\.5"):
        KeyPress.parse(text)


@pytest.mark.parametrize(("digits", "time"), [("w", 1.0), ("", 1.0), ("1", -1.0)])
def test_key_presses_that_cannot_be_are_refused(digits: str, time: float) -> None:
    with pytest.raises(ValueError, match="keys"):
        KeyPress(digits, time)
