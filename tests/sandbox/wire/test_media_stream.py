from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets import ClientConnection

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Samples, resample
from mediaserver.protocol import (
    ClearAudio,
    Media,
    PlayAudio,
    SendDtmf,
    SetCheckpoint,
    Start,
    decode_event,
)
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.errors import CallFailed
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.media_stream import (
    LOST,
    MediaStream,
    MediaStreamOptions,
    StatusChange,
    StreamEnd,
)
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.network import StreamNetwork
from mediaserver.testing import run_virtual, stall


FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]
EPOCH = 1_705_312_200.0
URL = "ws://agent.example/stream?id=7"


def tone(seconds: float, rate: int = 16_000, frequency: int = 440, level: int = 8_000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * times)).astype(np.int16)


def frequency_of(samples: NDArray[np.float64] | Samples, rate: int) -> np.float64:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * rate / len(samples)


RunStreaming = Callable[..., Any]


class Streaming:
    """A line, a stream on it, and the servers that its attempts to connect reach, in order."""

    def __init__(
        self,
        server_type: type[Any],
        line: Line,
        options: Any,
        prepare: Callable[[int, Any], None],
    ) -> None:
        self.line = line
        self.servers: list[Any] = []
        self.prepare = prepare
        self.statuses: list[tuple[float, StatusChange]] = []
        self.attempts: list[tuple[float, dict[str, str]]] = []
        self.connected = asyncio.Event()
        self.run: asyncio.Task[Any]
        self.end: StreamEnd
        self.identity = StreamIdentity.new()
        self._server_type = server_type
        self._running: list[asyncio.Task[None]] = []
        self.stream = MediaStream(
            line,
            MediaStreamOptions(URL, **options),
            self.identity,
            on_status=self._on_status,
            headers=lambda: {"X-Plivo-Signature-V3-Nonce": str(len(self.attempts))},
            connect=self._connect,
        )

    @property
    def server(self) -> Any:
        return self.servers[-1]

    @property
    def kinds(self) -> list[str]:
        return [change.kind for _, change in self.statuses]

    def _on_status(self, change: StatusChange) -> None:
        self.statuses.append((round(self.line.time, 3), change))
        self.connected.set()

    async def _connect(
        self, url: str, *, headers: Mapping[str, str], **timeouts: Any
    ) -> ClientConnection:
        self.attempts.append((round(self.line.time, 3), dict(headers)))
        ours, theirs = socket.socketpair()
        server = self._server_type(theirs)
        self.servers.append(server)
        self.prepare(len(self.servers), server)
        self._running.append(asyncio.create_task(server.run()))
        return await open_websocket(url, headers=headers, sock=ours, **timeouts)

    async def servers_done(self) -> None:
        await asyncio.gather(*self._running)


@pytest.fixture
def streaming(scripted_server: type[Any]) -> RunStreaming:
    """Run a script with a stream on a line that has been up for 0.5 s; return what it left."""

    def run(
        script: Callable[..., Any],
        *,
        prepare: Callable[[int, Any], None] = lambda _number, _server: None,
        connect: bool = True,
        rate: int = 16_000,
        **options: Any,
    ) -> Streaming:
        async def scenario() -> Streaming:
            await asyncio.sleep(0.0137)
            line = Line(rate=rate, epoch=EPOCH)
            line.start()
            await asyncio.sleep(0.5071)
            call = Streaming(scripted_server, line, options, prepare)
            call.run = asyncio.create_task(call.stream.run())
            if connect:
                await call.connected.wait()
            await script(call)
            line.hang_up()
            call.end = await call.run
            await call.servers_done()
            return call

        return run_virtual(scenario())

    return run


def media(call: Streaming, track: str = "inbound") -> list[dict[str, Any]]:
    return [event for event in call.server.events("media") if event["media"]["track"] == track]


def audio(events: list[dict[str, Any]], format: AudioFormat) -> Samples:
    payload = b"".join(base64.b64decode(event["media"]["payload"]) for event in events)
    return format.decode(payload)


async def for_a_second(call: Streaming) -> None:
    await asyncio.sleep(1.0)


async def both_heard(call: Streaming) -> None:
    """The person says 400 Hz, and hears 1,000 Hz."""
    call.line.handset.say(tone(0.5, frequency=400))
    call.line.play(tone(0.5, frequency=1_000))
    await asyncio.sleep(1.0)


# What is sent


def test_start_comes_first_in_the_form_of_the_reference(streaming: RunStreaming) -> None:
    call = streaming(for_a_second, format=MULAW_8K, extra_headers={"agent": "7", "team": "x"})
    assert call.server.received[0] == {
        "event": "start",
        "sequenceNumber": 1,
        "start": {
            "callId": call.identity.call_id,
            "streamId": call.identity.stream_id,
            "accountId": call.identity.account_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        "extra_headers": "{X-PH-agent: 7, X-PH-team: x}",
    }


def test_extra_headers_have_the_documented_form_on_request(streaming: RunStreaming) -> None:
    call = streaming(
        for_a_second, extra_headers={"agent": "7", "team": "x"}, extra_headers_style="documented"
    )
    texts = {event["extra_headers"] for event in call.server.received}
    assert texts == {"agent=7;team=x"}


def test_media_come_fifty_times_a_second_with_times_of_the_clock(streaming: RunStreaming) -> None:
    call = streaming(for_a_second)
    events = media(call)
    assert len(events) in (50, 51)
    assert [event["sequenceNumber"] for event in events] == list(range(2, len(events) + 2))
    assert [event["media"]["chunk"] for event in events] == list(range(1, len(events) + 1))
    times = [event["media"]["timestamp"] for event in events]
    first = int(EPOCH * 1000) + 500
    assert times == [str(first + 20 * index) for index in range(len(events))]


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_every_format_carries_the_voice_at_its_own_rate(
    streaming: RunStreaming, format: AudioFormat, rate: int
) -> None:
    async def script(call: Streaming) -> None:
        call.line.handset.say(tone(1.0, rate), rate)
        await asyncio.sleep(1.0)

    call = streaming(script, format=format, rate=rate)
    events = media(call)
    sizes = {len(base64.b64decode(event["media"]["payload"])) for event in events}
    assert sizes == {format.bytes_per_second // 50}
    heard = audio(events, format)[: format.rate]
    steady = heard[format.rate // 10 : -format.rate // 10].astype(float)
    assert frequency_of(steady, format.rate) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(steady**2)) == pytest.approx(8_000 / np.sqrt(2), rel=0.02)


def test_a_line_of_the_same_rate_is_sent_bit_for_bit(streaming: RunStreaming) -> None:
    speech = np.random.default_rng(7).integers(-9_000, 9_000, 16_000).astype(np.int16)

    async def script(call: Streaming) -> None:
        call.line.handset.say(speech)
        await asyncio.sleep(1.5)

    call = streaming(script, format=L16_16K)
    heard = audio(media(call), L16_16K)
    start = int(np.flatnonzero(heard)[0])
    assert np.array_equal(heard[start : start + 16_000], speech)


def test_after_speech_come_its_end_and_then_settled_silence(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.line.handset.say(tone(0.5))
        await asyncio.sleep(1.0)

    call = streaming(script, format=MULAW_8K)
    payloads = [event["media"]["payload"] for event in media(call)]
    assert set(payloads[-20:]) == {base64.b64encode(b"\xff" * 160).decode()}
    expected = resample(tone(0.5), 16_000, 8_000).astype(float)
    heard = audio(media(call), MULAW_8K).astype(float)
    lag = int(np.argmax(np.correlate(heard, expected, "valid")))
    error = heard[lag : lag + len(expected)] - expected
    assert 10 * np.log10(np.sum(expected**2) / np.sum(error**2)) > 30


def test_both_tracks_are_interleaved_each_with_its_own_chunks(streaming: RunStreaming) -> None:
    call = streaming(both_heard, track="both", format=L16_8K)
    assert call.server.received[0]["start"]["tracks"] == ["inbound", "outbound"]
    events = call.server.received[1:]
    tracks = [event["media"]["track"] for event in events]
    assert tracks == ["inbound", "outbound"] * (len(events) // 2)
    assert [event["sequenceNumber"] for event in events] == list(range(2, len(events) + 2))
    for track, frequency in (("inbound", 400), ("outbound", 1_000)):
        chunks = [event["media"]["chunk"] for event in media(call, track)]
        assert chunks == list(range(1, len(chunks) + 1))
        heard = audio(media(call, track), L16_8K)[800:3_200]
        assert frequency_of(heard, 8_000) == pytest.approx(frequency, abs=5)
    times = [event["media"]["timestamp"] for event in events]
    assert times[::2] == times[1::2]


def test_the_outbound_track_alone_is_what_the_person_hears(streaming: RunStreaming) -> None:
    call = streaming(both_heard, track="outbound", format=L16_8K)
    assert media(call) == []
    heard = audio(media(call, "outbound"), L16_8K)[800:3_200]
    assert frequency_of(heard, 8_000) == pytest.approx(1_000, abs=5)


def test_every_frame_is_one_that_a_strict_reader_takes(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.line.handset.press("5")
        call.server.send(
            PlayAudio(bytes([0x20]) * 800, MULAW_8K),
            SetCheckpoint(call.identity.stream_id, "here"),
        )
        await asyncio.sleep(0.5)
        call.server.send(ClearAudio(call.identity.stream_id))
        await asyncio.sleep(0.1)

    call = streaming(script, bidirectional=True, format=MULAW_8K)
    kinds = {message["event"] for message in call.server.received}
    assert kinds == {"start", "media", "dtmf", "playedStream", "clearedAudio"}
    numbers = [message["sequenceNumber"] for message in call.server.received]
    assert numbers == list(range(1, len(numbers) + 1))
    for message in call.server.received:
        event = decode_event(json.dumps(message))
        assert isinstance(message["sequenceNumber"], int)
        if isinstance(event, Start | Media) or message["event"] == "dtmf":
            assert isinstance(message["extra_headers"], str)
        if isinstance(event, Media):
            assert isinstance(message["media"]["chunk"], int)
            assert isinstance(message["media"]["timestamp"], str)


def test_keys_are_sent_with_the_time_at_which_they_were_pressed(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await asyncio.sleep(0.2)
        call.line.handset.press("4")
        await asyncio.sleep(0.2)

    call = streaming(script)
    (event,) = call.server.events("dtmf")
    pressed = call.line.handset.keys[0].time
    assert event["dtmf"] == {
        "track": "inbound",
        "digit": "4",
        "timestamp": str(round((EPOCH + pressed) * 1000)),
    }


def test_headers_go_into_the_request(streaming: RunStreaming) -> None:
    call = streaming(for_a_second)
    (request,) = call.server.requests
    assert request.headers["X-Plivo-Signature-V3-Nonce"] == "0"
    assert request.path == "/stream?id=7"


def test_a_stop_event_is_sent_on_request_only(streaming: RunStreaming) -> None:
    assert streaming(for_a_second).server.events("stop") == []
    assert len(streaming(for_a_second, send_stop=True).server.events("stop")) == 1


# What is played


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_the_person_hears_what_the_server_plays(
    streaming: RunStreaming, format: AudioFormat
) -> None:
    async def script(call: Streaming) -> None:
        recording = call.line.record()
        call.server.send(PlayAudio(format.encode(tone(0.25, format.rate)), format))
        await asyncio.sleep(1.0)
        heard = recording.samples[:, 1].astype(float)
        where = np.flatnonzero(np.abs(heard) > 1_000)
        assert (where[-1] - where[0]) / 16_000 == pytest.approx(0.25, abs=0.01)
        steady = heard[where[0] + 400 : where[-1] - 400]
        assert frequency_of(steady, 16_000) == pytest.approx(440, abs=5)
        assert np.sqrt(np.mean(steady**2)) == pytest.approx(8_000 / np.sqrt(2), rel=0.05)

    call = streaming(script, bidirectional=True, format=format)
    assert call.stream.errors == {}


def test_playback_in_odd_pieces_is_one_sound(streaming: RunStreaming) -> None:
    speech = tone(0.8, 16_000)

    async def script(call: Streaming) -> None:
        recording = call.line.record()
        for start in range(0, len(speech), 777):
            piece = speech[start : start + 777]
            call.server.send(PlayAudio(L16_16K.encode(piece), L16_16K))
        await asyncio.sleep(1.2)
        heard = recording.samples[:, 1]
        start = int(np.flatnonzero(heard)[0]) - 1
        assert np.array_equal(heard[start : start + len(speech)], speech)

    streaming(script, bidirectional=True, format=L16_16K)


def test_nothing_is_lost_in_a_stall(streaming: RunStreaming) -> None:
    speech = tone(0.8)

    async def script(call: Streaming) -> None:
        recording = call.line.record()
        for piece in np.split(speech, 4):
            call.server.send(PlayAudio(L16_16K.encode(piece), L16_16K))
        await asyncio.sleep(0.1)
        stall(0.55)
        await asyncio.sleep(0.5)
        heard = recording.samples[:, 1]
        start = int(np.flatnonzero(heard)[0]) - 1
        assert np.array_equal(heard[start : start + len(speech)], speech)

    call = streaming(script, bidirectional=True, format=L16_16K)
    chunks = [event["media"]["chunk"] for event in media(call)]
    assert chunks == list(range(1, len(chunks) + 1))
    assert len(chunks) in (57, 58)


def test_stream_and_platform_are_heard_together(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        recording = call.line.record()
        call.line.play(tone(0.5, frequency=400))
        call.server.send(PlayAudio(L16_16K.encode(tone(0.3, frequency=1_000)), L16_16K))
        await asyncio.sleep(0.4)
        heard = recording.samples[1_600:4_800, 1]
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        peaks = np.flatnonzero(spectrum > spectrum.max() / 2) * 16_000 / len(heard)
        assert {round(peak, -2) for peak in peaks} == {400, 1_000}

    streaming(script, bidirectional=True, format=L16_16K)


def test_a_checkpoint_is_confirmed_when_it_was_heard(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        sent = call.line.time
        call.server.send(
            PlayAudio(bytes(8_000), MULAW_8K), SetCheckpoint(call.identity.stream_id, "end")
        )
        await call.server.until("playedStream")
        assert call.line.time - sent == pytest.approx(1.0, abs=0.041)

    call = streaming(script, bidirectional=True, format=MULAW_8K)
    (event,) = call.server.events("playedStream")
    assert event["name"] == "end"
    assert [(c.kind, c.name) for _, c in call.statuses if c.kind == "played"] == [("played", "end")]


def test_a_clear_is_heard_and_told_at_once(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        recording = call.line.record()
        call.server.send(
            PlayAudio(L16_8K.encode(tone(0.7, 8_000)), L16_8K),
            SetCheckpoint(call.identity.stream_id, "never"),
        )
        await asyncio.sleep(0.3)
        call.server.send(ClearAudio(call.identity.stream_id))
        await call.server.until("clearedAudio")
        await asyncio.sleep(1.0)
        sound = np.flatnonzero(recording.samples[:, 1])
        assert sound[-1] / 16_000 == pytest.approx(0.3, abs=0.05)

    call = streaming(script, bidirectional=True, format=L16_8K)
    assert call.server.events("playedStream") == []
    assert call.kinds == ["connected", "cleared", "stopped"]


def test_digits_of_the_server_reach_the_person(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.server.send(SendDtmf("42#"))
        await asyncio.sleep(0.1)
        assert [key.digit for key in call.line.handset.digits_heard] == ["4", "2", "#"]

    streaming(script, bidirectional=True)


def test_more_audio_than_can_be_held_is_dropped_and_recorded(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        for _ in range(3):
            call.server.send(PlayAudio(bytes(8_000), MULAW_8K))
        await asyncio.sleep(0.1)

    call = streaming(script, bidirectional=True, format=MULAW_8K, playback_limit=2.0)
    assert list(call.stream.errors) == ["playback queue full (2 s): audio is dropped"]


# Noise cancellation


def test_noise_is_taken_out_of_what_the_person_says_and_of_nothing_else(
    streaming: RunStreaming,
) -> None:
    pytest.importorskip("webrtc_noise_gain", reason="it comes for Linux")
    noise = np.random.default_rng(3).normal(0, 1_000, 16_000 * 4).astype(np.int16)
    levels = {}

    async def script(call: Streaming) -> None:
        call.line.handset.say(noise)
        call.line.play(noise)
        await asyncio.sleep(3.5)

    for cancel in (False, True):
        call = streaming(script, track="both", format=L16_16K, noise_cancellation=cancel)
        for track in ("inbound", "outbound"):
            heard = audio(media(call, track), L16_16K)[32_000:48_000].astype(float)
            levels[cancel, track] = 20 * np.log10(np.sqrt(np.mean(heard**2)))
    assert levels[False, "inbound"] - levels[True, "inbound"] > 12
    assert levels[False, "outbound"] == pytest.approx(levels[True, "outbound"], abs=0.1)


# How it ends


def test_the_end_of_the_call_ends_the_stream(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await asyncio.sleep(1.0)
        call.line.handset.hang_up()
        assert call.kinds == ["connected", "stopped"]

    call = streaming(script)
    assert call.end.reason == "Call hangup"
    assert call.end.seconds == pytest.approx(1.0, abs=0.03)
    assert not call.server.open


def test_a_stop_by_request_ends_the_stream_and_not_the_call(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        end = await call.stream.stop()
        assert end.reason == "API request"
        assert call.line.up
        assert not call.server.open
        assert await call.stream.stop("Call hangup") is end

    call = streaming(script)
    assert call.kinds == ["connected", "stopped"]


def test_two_stops_at_once_are_one(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        ends = await asyncio.gather(*(call.stream.stop() for _ in range(3)))
        assert len({id(end) for end in ends}) == 1

    assert streaming(script).kinds == ["connected", "stopped"]


def test_a_stream_stopped_before_it_runs_never_connects() -> None:
    async def scenario() -> None:
        line = Line()
        line.start()
        stream = MediaStream(line, MediaStreamOptions(URL), StreamIdentity.new())
        assert (await stream.stop()).reason == "API request"
        assert (await stream.run()).reason == "API request"
        with pytest.raises(RuntimeError, match="runs once"):
            await stream.run()
        line.hang_up()

    run_virtual(scenario())


def test_a_stream_on_a_dead_call_never_connects() -> None:
    async def scenario() -> None:
        line = Line()
        line.start()
        line.hang_up()
        stream = MediaStream(line, MediaStreamOptions(URL), StreamIdentity.new())
        end = await stream.run()
        assert (end.reason, end.seconds) == ("Call hangup", 0.0)

    run_virtual(scenario())


@pytest.mark.parametrize("how", ["stop", "hang up", "cancel"])
def test_a_stream_can_be_ended_while_it_connects(how: str) -> None:
    statuses: list[StatusChange] = []
    dialled = []

    async def never(url: str, **options: Any) -> Any:
        dialled.append(url)
        await asyncio.Event().wait()

    async def scenario() -> None:
        line = Line()
        line.start()
        stream = MediaStream(
            line,
            MediaStreamOptions(URL),
            StreamIdentity.new(),
            on_status=statuses.append,
            connect=never,
        )
        running = asyncio.create_task(stream.run())
        await asyncio.sleep(1.0)
        if how == "cancel":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        elif how == "stop":
            assert (await stream.stop()).seconds == 0.0
            await running
        else:
            line.hang_up()
            await running
        assert stream.end
        assert stream.end.reason == ("Call hangup" if how == "hang up" else "API request")
        assert line.time == pytest.approx(1.0)
        line.hang_up()

    run_virtual(scenario())
    assert dialled == [URL]
    assert [change.kind for change in statuses] == ["stopped"]


def test_a_connection_that_comes_after_the_end_is_given_up() -> None:
    aborted = []
    late = SimpleNamespace(transport=SimpleNamespace(abort=lambda: aborted.append(True)))

    async def stubborn(url: str, **_: Any) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return late

    async def scenario() -> None:
        line = Line()
        line.start()
        stream = MediaStream(line, MediaStreamOptions(URL), StreamIdentity.new(), connect=stubborn)
        running = asyncio.create_task(stream.run())
        await asyncio.sleep(1.0)
        line.hang_up()
        assert (await running).reason == "Call hangup"

    run_virtual(scenario())
    assert aborted == [True]


def test_a_cancelled_stream_leaves_no_socket_open(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.run
        call.run = asyncio.create_task(asyncio.sleep(0, call.stream.end))
        await call.servers_done()

    assert streaming(script).end.reason == "API request"


def test_a_stream_ends_at_its_timeout(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await call.run
        assert call.line.up

    call = streaming(script, timeout=5)
    assert call.end.reason == "Stream timeout"
    assert call.end.seconds == pytest.approx(5.0, abs=0.001)
    assert call.kinds == ["connected", "timeout"]
    assert len(media(call)) == 250


@pytest.mark.parametrize(
    ("code", "error"), [(1000, ""), (1001, ""), (1011, "closed with code 1011 oh no")]
)
def test_the_server_may_close(streaming: RunStreaming, code: int, error: str) -> None:
    async def script(call: Streaming) -> None:
        await asyncio.sleep(0.5)
        call.server.close(code, "oh no")
        await call.run
        assert call.line.up

    call = streaming(script)
    assert (call.end.reason, call.end.error) == ("Server closed", error)
    assert call.kinds == ["connected", "stopped"]


def test_a_lost_connection_drops_the_stream(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await asyncio.sleep(0.5)
        call.server.lose()
        await call.run

    call = streaming(script)
    assert call.end.reason == "Connection error"
    (_, connected), (_, dropped) = call.statuses
    assert (connected.kind, dropped.kind) == ("connected", "dropped")
    assert dropped.error == "connection disconnected with the remote service"
    assert dropped.seconds == pytest.approx(0.5, abs=0.03)


# Connecting


def refusing(*numbers: Any, status: int = 503) -> Callable[..., Any]:
    def prepare(number: int, server: Any) -> None:
        if number in numbers:
            server.refuse = (status, "not now")

    return prepare


def test_three_refusals_fail_the_stream(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await call.run

    call = streaming(script, prepare=refusing(1, 2, 3), connect=False)
    assert call.end.reason == "Connection error"
    assert call.end.error == "HTTP 503: not now"
    assert [time for time, _ in call.attempts] == pytest.approx([0.507, 1.507, 2.507])
    assert call.kinds == ["failed"]
    assert call.stream.errors == {"HTTP 503: not now": 3}


@pytest.mark.parametrize("refusals", [1, 2])
def test_the_second_or_third_attempt_may_succeed_with_a_signature_of_its_own(
    streaming: RunStreaming, refusals: int
) -> None:
    call = streaming(for_a_second, prepare=refusing(*range(1, refusals + 1)))
    assert call.kinds == ["connected", "stopped"]
    nonces = [headers["X-Plivo-Signature-V3-Nonce"] for _, headers in call.attempts]
    assert nonces == [str(n) for n in range(refusals + 1)]
    assert call.server.received[0]["sequenceNumber"] == 1


def test_a_server_that_takes_the_connection_and_says_nothing_fails_in_time(
    streaming: RunStreaming,
) -> None:
    def prepare(_: int, server: Any) -> None:
        async def mute() -> None:
            _, writer = await asyncio.open_connection(sock=server.sock)
            await asyncio.sleep(60)
            writer.close()

        server.run = mute

    async def script(call: Streaming) -> None:
        await call.run
        assert call.line.time == pytest.approx(0.507 + 3 * 2.0 + 2 * 1.0, abs=0.1)

    call = streaming(script, prepare=prepare, connect=False, open_timeout=2.0)
    assert call.kinds == ["failed"]
    assert call.end.error.endswith("did not take the call in 2 s")


def test_nobody_there_fails_the_stream() -> None:
    async def nobody(url: str, **_: Any) -> Any:
        raise CallFailed(None, f"cannot call {url}: nobody there")

    async def scenario() -> None:
        line = Line()
        line.start()
        stream = MediaStream(line, MediaStreamOptions(URL), StreamIdentity.new(), connect=nobody)
        end = await stream.run()
        assert end.error == f"cannot call {URL}: nobody there"
        assert stream.errors == {end.error: 3}
        line.hang_up()

    run_virtual(scenario())


# A server that does wrong


WRONG = {
    "hello": "not_json",
    '{"event":"media"}': "unknown command 'media'",
    '{"event":"playAudio","media":{}}': "missing_field",
    b"\x00\x01": "binary frame",
    '{"event":"playAudio","media":{"contentType":"audio/x-l16","sampleRate":16000,'
    '"payload":"AAAA"}}': "incorrectPayload: audio/x-l16;rate=16000",
    '{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":44100,'
    '"payload":"AAAA"}}': "unsupported_format",
    '{"event":"clearAudio","streamId":"another"}': "clearAudio for another stream",
    '{"event":"checkpoint","streamId":"another","name":"x"}': "checkpoint for another stream",
    '{"event":"sendDTMF","dtmf":"1w2"}': "bad_value",
}


@pytest.mark.parametrize("message", WRONG, ids=str)
def test_what_a_server_sends_wrong_is_recorded_and_the_stream_goes_on(
    streaming: RunStreaming, message: bytes | str
) -> None:
    async def script(call: Streaming) -> None:
        call.server.send(message)
        await asyncio.sleep(0.5)
        assert call.stream.connected

    call = streaming(script, bidirectional=True, format=MULAW_8K)
    ((error, count),) = call.stream.errors.items()
    assert error.startswith(WRONG[message])
    assert count == 1
    assert call.kinds == ["connected", "stopped"]


def test_half_a_sample_is_recorded(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.server.send(PlayAudio(b"123", L16_8K))
        await asyncio.sleep(0.1)

    call = streaming(script, bidirectional=True, format=L16_8K)
    assert [error[:16] for error in call.stream.errors] == ["incorrectPayload"]


def test_what_only_a_strict_reader_minds_is_obeyed_with_a_warning(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.server.send('{"event":"clearAudio"}')
        await call.server.until("clearedAudio")

    call = streaming(script, bidirectional=True)
    assert call.stream.warnings == {"streamId is missing": 1}
    assert call.stream.errors == {}


def test_commands_need_a_bidirectional_stream(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        call.server.send(
            PlayAudio(bytes(160), MULAW_8K), SetCheckpoint(call.identity.stream_id, "x")
        )
        await asyncio.sleep(0.5)

    call = streaming(script, format=MULAW_8K)
    assert call.stream.errors == {"command on a stream that is not bidirectional": 2}
    assert call.server.events("playedStream") == []


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda server: server.send('{"event":"' + "x" * 70_000 + '"}'), "1009"),
        (lambda server: server.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" * 9), "1002"),
    ],
    ids=["over 64 KB", "no WebSocket"],
)
def test_what_no_websocket_may_send_drops_the_stream(
    streaming: RunStreaming, broken: Callable[[Any], None], code: str
) -> None:
    async def script(call: Streaming) -> None:
        broken(call.server)
        await call.run
        assert call.line.up

    call = streaming(script, bidirectional=True)
    assert call.end.reason == "Connection error"
    assert code in call.end.error
    assert call.kinds == ["connected", "dropped"]


def test_a_checkpoint_whose_confirmation_is_too_long_is_recorded(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        command = {"event": "checkpoint", "streamId": "", "name": "é" * 32_740}
        call.server.send(json.dumps(command, ensure_ascii=False, separators=(",", ":")))
        await asyncio.sleep(0.1)

    call = streaming(script, bidirectional=True)
    assert [error[:30] for error in call.stream.errors] == ["checkpoint cannot be acknowled"]
    assert call.kinds == ["connected", "played", "stopped"]
    numbers = [event["sequenceNumber"] for event in call.server.received]
    assert numbers == list(range(1, len(numbers) + 1))


def test_messages_after_the_end_are_not_looked_at(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        stopping = asyncio.create_task(call.stream.stop())
        call.server.send("garbage")
        await stopping

    assert streaming(script, bidirectional=True).stream.errors == {}


# A server that does not read


def not_reading(number: int, server: Any) -> None:
    """Let the server take the stream, and then read no more."""

    async def run() -> None:
        server.reader, server.writer = await asyncio.open_connection(sock=server.sock)
        while not server.requests:
            data = await server.reader.read(65536)
            server.protocol.receive_data(data)
            for request in server.protocol.events_received():
                server.requests.append(request)
                server.protocol.send_response(server.protocol.accept(request))
            server.flush()
        server.writer.transport.pause_reading()
        server.reading = asyncio.Event()
        await server.reading.wait()
        server.writer.transport.resume_reading()
        while data := await server.reader.read(65536):
            server.protocol.receive_data(data)
            for event in server.protocol.events_received():
                if event.opcode.name == "TEXT":
                    server.note(event.data, False)
            server.flush()
        server.writer.close()

    server.run = run


@pytest.mark.parametrize("track", ["inbound", "both"])
def test_a_server_that_does_not_read_degrades_the_stream_and_then_loses_it(
    streaming: RunStreaming, track: str
) -> None:
    async def script(call: Streaming) -> None:
        await call.run
        assert call.line.up
        call.server.reading.set()

    call = streaming(script, prepare=not_reading, track=track, format=L16_24K)
    assert call.kinds == ["connected", "degraded", "degraded", "degraded", "dropped"]
    full, *others = [time for time, change in call.statuses[1:]][::-1]
    # What the sockets hold is gone before the buffer begins to fill.
    assert [full - time for time in others] == pytest.approx([4.0, 16.0, 28.0], abs=0.021)
    errors = [change.error for _, change in call.statuses[1:]]
    assert [error[:3] for error in errors[:3]] == ["30%", "60%", "90%"]
    assert errors[3] == "the remote service has not read for 40 s"
    assert call.end.reason == "Connection error"


def test_a_server_that_reads_again_in_time_gets_everything(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await asyncio.sleep(30.0)
        call.server.reading.set()
        await asyncio.sleep(1.0)
        assert call.kinds == ["connected", "degraded", "degraded"] or call.kinds == [
            "connected",
            "degraded",
        ]

    call = streaming(script, prepare=not_reading, format=L16_24K)
    chunks = [event["media"]["chunk"] for event in media(call)]
    assert chunks == list(range(1, len(chunks) + 1))
    assert len(chunks) in (1_549, 1_550, 1_551)


def test_the_end_of_a_call_does_not_wait_for_a_server_that_does_not_read(
    streaming: RunStreaming,
) -> None:
    async def script(call: Streaming) -> None:
        await asyncio.sleep(20.0)
        asked = asyncio.get_running_loop().time()
        await call.stream.stop()
        assert asyncio.get_running_loop().time() - asked == pytest.approx(2.0, abs=0.1)
        call.server.reading.set()

    call = streaming(script, prepare=not_reading, format=L16_24K)
    assert call.end.reason == "API request"


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "https://agent.example"}, "ws://… or wss://…"),
        ({"url": "ws://" + "x" * 2_048}, "2048 characters"),
        ({"format": AudioFormat("alaw", 8_000)}, "allowed: audio/x-mulaw;rate=8000, "),
        ({"track": "all"}, "inbound, outbound or both, got 'all'"),
        ({"bidirectional": True, "track": "both"}, "only the inbound track, not both"),
        ({"bidirectional": True, "track": "outbound"}, "only the inbound track, not outbound"),
        ({"timeout": 0}, "above 0 and at most 86400 seconds"),
        ({"timeout": 86_401}, "above 0 and at most 86400 seconds"),
        ({"attempts": 0}, "at least once"),
        ({"noise_cancellation_level": 59}, "from 60 to 100, not 59"),
        ({"noise_cancellation_level": 101}, "from 60 to 100, not 101"),
        ({"extra_headers": {"a": "x" * 600}}, "512"),
    ],
)
def test_what_plivo_would_not_take_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MediaStreamOptions(**{"url": URL, **options})


# What it does wrong on request


@pytest.mark.parametrize(
    ("wrong", "kinds", "reason"),
    [
        ("drop@0.5", ["connected", "dropped"], "Connection error"),
        ("half-close@0.5", ["connected", "dropped"], "Connection error"),
        ("stop-reading@0.5", ["connected", "stopped"], "Call hangup"),
    ],
)
def test_a_fault_of_the_connection_happens_at_its_time(
    streaming: Any, wrong: str, kinds: list[str], reason: str
) -> None:
    async def script(call: Any) -> None:
        await asyncio.sleep(0.6)
        if call.server.open:
            call.server.send(ClearAudio(call.identity.stream_id))
        await asyncio.sleep(1.0)

    call = streaming(
        script, format=MULAW_8K, bidirectional=True, misbehaviour=Misbehaviour.parse(wrong)
    )
    assert (call.kinds, call.end.reason) == (kinds, reason)
    assert len(media(call)) == pytest.approx(25 if "dropped" in kinds else 80, abs=3)
    assert call.server.events("clearedAudio") == []
    assert set(call.stream.errors) == ({LOST} if "dropped" in kinds else set())


def test_messages_can_come_in_fragments(streaming: Any) -> None:
    call = streaming(for_a_second, misbehaviour=Misbehaviour(fragmented=True))
    assert call.server.fragments == 2 * len(call.server.received)
    assert len(media(call)) in (50, 51)


def test_messages_can_come_in_binary(streaming: Any) -> None:
    call = streaming(for_a_second, misbehaviour=Misbehaviour(binary=True))
    assert {type(message) for message in call.server.received} == {bytes}


def test_pieces_of_odd_sizes_hold_the_whole_audio_of_each_track(streaming: Any) -> None:
    speech = np.random.default_rng(7).integers(-9_000, 9_000, 16_000).astype(np.int16)

    async def script(call: Any) -> None:
        call.line.handset.say(speech)
        call.line.play(speech[::-1])
        await asyncio.sleep(2.0)

    call = streaming(
        script, track="both", format=L16_16K, misbehaviour=Misbehaviour(odd_sizes=True)
    )
    for track, said in (("inbound", speech), ("outbound", speech[::-1])):
        heard = audio(media(call, track), L16_16K)
        start = int(np.flatnonzero(heard)[0])
        assert np.array_equal(heard[start : start + 16_000], said)


@pytest.mark.parametrize(
    ("wrong", "answers"),
    [("no-acks", ["clearedAudio"]), ("no-cleared", ["playedStream"])],
)
def test_answers_can_be_missing(streaming: Any, wrong: str, answers: list[str]) -> None:
    async def script(call: Any) -> None:
        call.server.send(SetCheckpoint(call.identity.stream_id, "here"))
        await asyncio.sleep(0.1)
        call.server.send(ClearAudio(call.identity.stream_id))
        await asyncio.sleep(0.1)

    call = streaming(script, bidirectional=True, misbehaviour=Misbehaviour.parse(wrong))
    kinds = [message["event"] for message in call.server.received]
    assert [kind for kind in kinds if kind in ("playedStream", "clearedAudio")] == answers
    assert call.kinds == ["connected", "played", "cleared", "stopped"]


# Opened again


@pytest.mark.parametrize("keeps", [False, True])
def test_a_dropped_stream_is_opened_again(streaming: RunStreaming, keeps: bool) -> None:
    heard_before: list[float] = []

    async def script(call: Streaming) -> None:
        call.server.send(PlayAudio(MULAW_8K.encode(tone(1.0, 8_000)), MULAW_8K))
        await asyncio.sleep(1.5)
        heard_before.append(len(call.servers))
        await asyncio.sleep(1.0)

    wrong = ["drop@0.5", "reopen:1.5s", "new-stream-id", *(["keep-playing"] if keeps else [])]
    call = streaming(
        script, format=MULAW_8K, bidirectional=True, misbehaviour=Misbehaviour.parse(*wrong)
    )
    assert heard_before == [1]
    first, second = call.servers
    assert [len(server.events("start")) for server in (first, second)] == [1, 1]
    (start,) = second.events("start")
    assert start["sequenceNumber"] == 1
    assert start["start"]["callId"] == call.identity.call_id
    assert start["start"]["streamId"] != call.identity.stream_id
    chunks = [event["media"]["chunk"] for event in second.events("media")]
    assert [int(chunk) for chunk in chunks] == list(range(1, len(chunks) + 1))
    # A second signature, and no end in between.
    assert len({headers["X-Plivo-Signature-V3-Nonce"] for _, headers in call.attempts}) == 2
    assert call.kinds == ["connected", "stopped"]


def test_a_stream_may_be_opened_again_beside_a_socket_that_stays_open(
    streaming: RunStreaming,
) -> None:
    received: list[int] = []

    async def script(call: Streaming) -> None:
        first = call.server
        await asyncio.sleep(0.7)
        received.append(len(first.received))
        await asyncio.sleep(1.3)
        received.append(len(first.received))
        assert not first.writer.is_closing()

    wrong = Misbehaviour.parse("drop@0.5", "reopen:1s", "half-open")
    call = streaming(script, format=MULAW_8K, bidirectional=True, misbehaviour=wrong)
    assert len(call.servers) == 2
    assert received[0] == received[1]
    assert call.kinds == ["connected", "stopped"]


def test_a_call_that_ends_meanwhile_is_not_opened_again(streaming: RunStreaming) -> None:
    call = streaming(for_a_second, misbehaviour=Misbehaviour.parse("drop@0.5", "reopen:20s"))
    assert len(call.servers) == 1
    assert call.end.reason == "Call hangup"


def test_a_server_that_refuses_the_stream_has_lost_it(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        await call.run

    call = streaming(
        script,
        prepare=refusing(2),
        misbehaviour=Misbehaviour.parse("drop@0.5", "reopen:200ms"),
    )
    assert call.end.reason == "Connection error"
    assert call.end.error.startswith("not taken again: ")
    assert call.kinds == ["connected", "dropped"]


# Troubles of the network


def test_while_the_network_stands_still_nothing_comes_on_either_side(
    streaming: RunStreaming,
) -> None:
    network = StreamNetwork()

    async def script(call: Streaming) -> None:
        await asyncio.sleep(0.5)
        playback = call.stream.playback
        assert playback is not None
        network.stall(1.0, asyncio.get_running_loop().time())
        sent = len(media(call))
        call.server.send(PlayAudio(bytes(1_600), L16_8K))
        await asyncio.sleep(0.9)
        assert len(media(call)) == sent
        assert playback.received == 0
        await asyncio.sleep(0.2)
        assert len(media(call)) - sent in (54, 55, 56)
        assert playback.received == pytest.approx(0.1)

    streaming(script, bidirectional=True, network=network)


def test_jitter_delays_frames_and_keeps_their_order(streaming: RunStreaming) -> None:
    network = StreamNetwork()
    network.trouble(jitter=0.1, loss=0.05)

    async def script(_call: Streaming) -> None:
        await asyncio.sleep(2.0)

    call = streaming(script, network=network)
    chunks = [event["media"]["chunk"] for event in media(call)]
    assert chunks == list(range(1, len(chunks) + 1))
    assert len(chunks) in (100, 101)


def test_a_network_that_stands_still_for_long_drops_the_stream(streaming: RunStreaming) -> None:
    network = StreamNetwork()

    async def script(call: Streaming) -> None:
        network.stall(10.0, asyncio.get_running_loop().time())
        await asyncio.sleep(5.0)
        assert call.stream.ended

    call = streaming(script, network=network, backlog_limit=2.0)
    assert call.end.error == "the remote service has not read for 2 s"
    assert call.kinds == ["connected", "degraded", "degraded", "degraded", "dropped"]


def test_commands_on_their_way_are_obeyed_before_the_stream_ends(streaming: RunStreaming) -> None:
    network = StreamNetwork()

    async def script(call: Streaming) -> None:
        network.stall(5.0, asyncio.get_running_loop().time())
        call.server.send(SetCheckpoint(call.identity.stream_id, "last"))
        call.server.close()
        await call.run

    call = streaming(script, bidirectional=True, network=network)
    assert call.end.reason == "Server closed"
    assert [each.name for each in call.stream.ledger.checkpoints] == ["last"]


def test_a_gap_is_entered_when_it_has_ended(streaming: RunStreaming) -> None:
    async def script(call: Streaming) -> None:
        for _ in range(2):
            call.server.send(PlayAudio(bytes(1_600), L16_8K))
            await asyncio.sleep(0.25)

    call = streaming(script, bidirectional=True)
    (gap,) = [each for each in call.stream.ledger.entries if each.kind == "gap"]
    assert call.stream.playback is not None
    ((start, seconds),) = call.stream.playback.gaps
    assert gap.time == pytest.approx(start + seconds)
    assert gap.text == f"{seconds:.2f} s"
