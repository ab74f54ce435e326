import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets import ServerConnection
from websockets.asyncio.server import serve

from audiocodecs import L16_16K, AudioError, read_wav, write_wav
from mediaserver.protocol import Dtmf, Media, PlayAudio, Start, decode_event, encode_command
from mediaserver.sandbox import CallFailed, CallOptions, KeyPress, Misbehaviour, place_call
from mediaserver.sandbox.phone.place_call import GREETED_AFTER


@pytest.fixture
async def echo() -> AsyncIterator[Any]:
    """The address of an agent that says back what it hears."""

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            match decode_event(message):
                case Start(media_format=media_format):
                    format = media_format
                case Media(payload=payload):
                    echoed = encode_command(PlayAudio(payload, format)).decode()
                    await connection.send(echoed)
                case Dtmf():
                    await connection.close()

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    samples = (9000 * np.sin(np.arange(4410) * 0.1)).astype(np.int16)
    write_wav(tmp_path / "in.wav", np.stack([samples, samples], axis=1), 44_100)
    return tmp_path / "in.wav"


async def test_a_call_from_file_to_files(echo: str, tone: Path, tmp_path: Path) -> None:
    options = CallOptions(
        echo,
        audio=tone,
        record=tmp_path / "out.wav",
        report=tmp_path / "report.json",
        format=L16_16K,
        silence=0.1,
    )
    report = await place_call(options)
    recording = read_wav(tmp_path / "out.wav")
    assert recording.rate == 16_000
    assert recording.samples.shape == (round(report.duration * 16_000), 2)
    assert recording.samples.any(axis=0).all()
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report.to_dict()
    assert report.ended_by == "caller"


async def test_keys_are_pressed_at_their_times(echo: str) -> None:
    presses = (KeyPress("2", 60.0), KeyPress("1", 0.04))
    report = await place_call(CallOptions(echo, presses=presses))
    assert [key.digit for key in report.keys_pressed] == ["1"]
    assert report.keys_pressed[0].time >= 0.04
    assert report.ended_by == "server"


async def test_a_caller_may_let_the_agent_greet_first(tone: Path) -> None:
    greeting = (9000 * np.sin(np.arange(4000) * 0.1)).astype(np.int16)

    async def greet(connection: ServerConnection) -> None:
        async for message in connection:
            match decode_event(message):
                case Start(media_format=format):
                    assert format
                    played = PlayAudio(format.encode(greeting), format)
                    await connection.send(encode_command(played).decode())

    async with serve(greet, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        report = await place_call(CallOptions(url, tone, after_greeting=True, silence=0.1))
    ((_, greeted),) = report.agent_speech
    (said,) = report.caller_speech
    assert said[0] >= greeted + GREETED_AFTER
    assert report.ended_by == "caller"


async def test_a_caller_does_not_wait_for_a_greeting_for_ever(
    echo: str, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.sandbox.phone.place_call.GREETING_WITHIN", 0.05)
    options = CallOptions(echo, audio=tone, after_greeting=True, silence=0.1)
    report = await place_call(options)
    assert report.caller_speech


async def test_a_call_is_capped(echo: str) -> None:
    report = await place_call(CallOptions(echo, seconds=0.1, presses=(KeyPress("1", 60.0),)))
    assert (report.ended_by, report.keys_pressed) == ("caller", [])


async def test_a_call_can_be_watched(echo: str) -> None:
    seen = []
    await place_call(CallOptions(echo, silence=0.02), watch=lambda phone: seen.append(phone))
    assert seen[0].started
    assert seen[0].url == echo


async def test_extra_headers_misbehaviour_and_epoch_reach_the_wire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request
        received.append(connection.request.headers["X-Test"])
        received.extend([await connection.recv(), await connection.recv()])

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        options = CallOptions(
            url,
            misbehaviour=Misbehaviour(string_numbers=True),
            extra_headers={"agent": "7"},
            headers={"X-Test": "yes"},
        )
        await place_call(options, epoch=1_700_000_000.0)
    header, start, media = received
    assert header == "yes"
    assert json.loads(start)["sequenceNumber"] == "1"
    assert json.loads(start)["extra_headers"] == "{X-PH-agent: 7}"
    assert json.loads(media)["media"]["timestamp"] == "1700000000000"


async def test_a_file_that_is_no_audio_is_refused_before_calling(tmp_path: Path) -> None:
    (tmp_path / "in.wav").write_text("hello")
    with pytest.raises(AudioError):
        await place_call(CallOptions("ws://127.0.0.1:1/", audio=tmp_path / "in.wav"))


async def test_a_call_that_is_broken_off_writes_its_files(
    echo: str, tone: Path, tmp_path: Path
) -> None:
    options = CallOptions(
        echo, audio=tone, record=tmp_path / "out.wav", report=tmp_path / "report.json", silence=60.0
    )
    taken: asyncio.Queue[Any] = asyncio.Queue()
    call = asyncio.create_task(place_call(options, watch=taken.put_nowait))
    phone = await taken.get()
    await phone.wait_for_audio()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert read_wav(tmp_path / "out.wav").samples.any(axis=0).all()
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
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
