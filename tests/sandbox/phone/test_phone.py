import asyncio
import json
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import trustme
from websockets import ServerConnection
from websockets.asyncio.server import serve, unix_serve

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol import (
    ClearAudio,
    Command,
    PlayAudio,
    SendDtmf,
    SetCheckpoint,
    decode_event,
)
from mediaserver.sandbox import (
    CallEnded,
    CallFailed,
    CallReport,
    Misbehaviour,
    Phone,
    StreamIdentity,
    WaitTimeoutError,
)
from mediaserver.sandbox.wire.uplink import GARBAGE
from mediaserver.testing import run_virtual, stall
from tests.sandbox.conftest import Joined


FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]
IDENTITY = StreamIdentity.new()
STREAM = IDENTITY.stream_id


def tone(seconds: float, rate: int = 8000) -> np.ndarray:
    return (12_000 * np.sin(np.arange(round(seconds * rate)) * 2500 / rate)).astype(np.int16)


def audio(seconds: float, format: AudioFormat = MULAW_8K) -> PlayAudio:
    return PlayAudio(format.encode(tone(seconds, format.rate)), format)


def decoded(message: dict[str, Any]) -> Any:
    return decode_event(json.dumps(message))


def kinds(phone: Phone) -> list[str]:
    return [event.kind for event in phone.events]


async def nothing(phone: Phone, server: Any) -> None:
    """Let the call be one of half a second."""
    await phone.wait_until(0.5)


def sending(*messages: Command | str | bytes, until: float) -> Callable[..., Any]:
    """Have the server send messages at the start of the call, which lasts `until` then."""

    async def script(phone: Phone, server: Any) -> None:
        server.send(*messages)
        await phone.wait_until(until)

    return script


async def until_closed(phone: Phone, server: Any) -> None:
    await phone.wait_closed()


@pytest.mark.parametrize("format", FORMATS)
def test_start_comes_first_and_then_a_frame_every_20_ms(
    joined: Joined, format: AudioFormat
) -> None:
    phone, server = joined(nothing, format=format, identity=IDENTITY)
    start, *frames = [decoded(message) for message in server.received]
    assert (start.call_id, start.stream_id) == (IDENTITY.call_id, STREAM)
    assert start.media_format == format
    assert [frame.chunk for frame in frames] == list(range(1, 26))
    assert {format.seconds(frame.payload) for frame in frames} == {0.02}
    assert phone.report().frames_sent == 25


def test_timestamps_count_from_the_given_epoch(joined: Joined) -> None:
    _, server = joined(nothing, epoch=1_700_000_000.0)
    stamps = [int(frame["media"]["timestamp"]) for frame in server.events("media")]
    assert stamps[:3] == [1_700_000_000_000, 1_700_000_000_020, 1_700_000_000_040]


def test_timestamps_follow_the_loops_clock_otherwise(joined: Joined) -> None:
    stamps = [
        [frame["media"]["timestamp"] for frame in joined(nothing)[1].events("media")]
        for _ in range(2)
    ]
    assert stamps[0] == stamps[1]


def test_the_request_carries_path_query_and_headers(joined: Joined) -> None:
    _, server = joined(nothing, headers={"X-Plivo-Signature-V3": "abc="})
    (request,) = server.requests
    assert request.path == "/stream?id=7"
    assert request.headers["X-Plivo-Signature-V3"] == "abc="
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert "User-Agent" not in request.headers


@pytest.mark.parametrize(
    ("style", "text"),
    [("live", "{X-PH-agent: 7}"), ("documented", "agent=7"), ("json", '{"agent":"7"}')],
)
def test_extra_headers_are_on_start_and_on_every_frame(
    joined: Joined, style: str, text: str
) -> None:
    _, server = joined(nothing, extra_headers={"agent": "7"}, extra_headers_style=style)
    assert {message["extra_headers"] for message in server.received} == {text}


def test_tracks_of_a_stream_that_only_listens(joined: Joined) -> None:
    _, server = joined(nothing, bidirectional=False, tracks=("inbound", "outbound"))
    assert server.events("start")[0]["start"]["tracks"] == ["inbound", "outbound"]
    tracks = [frame["media"]["track"] for frame in server.events("media")]
    assert tracks[:4] == ["inbound", "outbound"] * 2


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_the_callers_audio_is_brought_to_the_streams_rate(
    joined: Joined, format: AudioFormat, rate: int
) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_spoken()

    phone, server = joined(script, audio=tone(0.4, rate), audio_rate=rate, format=format)
    payload = b"".join(decoded(m).payload for m in server.events("media"))
    samples = format.decode(payload)
    assert len(samples) == round(0.4 * format.rate)
    expected = tone(0.4, format.rate).astype(float)
    inner = slice(format.rate // 20, -format.rate // 20)
    error = (samples - expected)[inner].std() / expected[inner].std()
    assert error < 0.05
    assert phone.report().caller_speech == [(0.0, pytest.approx(0.4, abs=0.021))]


def test_say_follows_what_is_being_said(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        phone.say(tone(0.1))
        phone.say(tone(0.1))
        await phone.wait_spoken()

    phone, _ = joined(script, audio=tone(0.1))
    assert phone.time == pytest.approx(0.3, abs=0.021)
    assert phone.recording()[:, 0].astype(bool).mean() > 0.9


def test_a_stalled_loop_makes_up_for_its_frames_and_says_how_late_it_was(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.1)
        stall(0.3)
        await phone.wait_until(0.5)

    phone, server = joined(script)
    assert len(server.events("media")) == 25
    assert phone.report().sender_lateness == pytest.approx(0.28, abs=0.021)


def test_audio_is_heard_from_the_next_tick_on(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.1)
        server.send(audio(0.3))
        assert await phone.wait_for_audio() == pytest.approx(0.12)
        assert await phone.wait_for_silence(0.2) == pytest.approx(0.62)

    phone, _ = joined(script)
    report = phone.report()
    assert report.first_audio == report.first_speech == pytest.approx(0.12)
    assert report.agent_speech == [(pytest.approx(0.12), pytest.approx(0.42))]
    assert report.audio_played == pytest.approx(0.3)


@pytest.mark.parametrize("format", FORMATS)
def test_the_recording_holds_both_voices_on_one_timeline(
    joined: Joined, format: AudioFormat
) -> None:
    phone, _ = joined(
        sending(audio(0.2, format), until=0.5), audio=tone(0.1, format.rate), format=format
    )
    recording = phone.recording()
    assert recording.shape == (format.rate // 2, 2)
    frame = format.rate // 50
    heard = format.decode(audio(0.2, format).payload)
    np.testing.assert_array_equal(recording[frame : 11 * frame, 1], heard)
    assert recording[: 5 * frame, 0].any()
    assert not recording[5 * frame :, 0].any()
    assert not recording[11 * frame :, 1].any()
    np.testing.assert_array_equal(phone.report().recording, recording)


def test_a_phone_can_keep_no_audio(joined: Joined) -> None:
    phone, _ = joined(sending(audio(0.2), until=0.5), audio=tone(0.1), keep_audio=False)
    report = phone.report()
    assert report.recording is None
    assert not phone.recording().any()
    assert report.agent_speech
    assert report.caller_speech


def test_a_checkpoint_is_acknowledged_when_the_audio_before_it_was_played(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(0.2), SetCheckpoint(STREAM, "greeting"))
        await server.until("playedStream")
        assert phone.time == pytest.approx(0.22)

    phone, server = joined(script, identity=IDENTITY)
    (answer,) = server.events("playedStream")
    assert (answer["name"], answer["streamId"]) == ("greeting", STREAM)
    (checkpoint,) = phone.report().checkpoints
    assert (checkpoint.name, checkpoint.played) == ("greeting", pytest.approx(0.22))


def test_a_clear_is_answered_at_once_and_its_checkpoints_never(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(1.0), SetCheckpoint(STREAM, "never"))
        await phone.wait_until(0.1)
        server.send(ClearAudio(STREAM))
        await server.until("clearedAudio")
        assert phone.time == pytest.approx(0.1, abs=0.001)
        await phone.wait_until(2.0)

    phone, server = joined(script, identity=IDENTITY)
    report = phone.report()
    assert server.events("playedStream") == []
    assert report.checkpoints[0].played is None
    assert report.checkpoints[0].cleared == pytest.approx(0.1, abs=0.001)
    assert report.audio_cleared == pytest.approx(0.9, abs=0.021)
    assert report.audio_played + report.audio_cleared == pytest.approx(report.audio_received)


def test_keys_are_sent_one_after_the_other(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.1)
        phone.press("1#")
        phone.press("A")
        await phone.wait_spoken()

    phone, server = joined(script, epoch=1_700_000_000.0)
    keys = [message["dtmf"] for message in server.events("dtmf")]
    assert [key["digit"] for key in keys] == ["1", "#", "A"]
    stamps = [int(key["timestamp"]) - 1_700_000_000_000 for key in keys]
    assert stamps == [100, 200, 300]
    assert [key.digit for key in phone.report().keys_pressed] == ["1", "#", "A"]


@pytest.mark.parametrize("digits", ["", "1w", "a", "12 3", "E"])
def test_a_key_no_telephone_has_is_refused(joined: Joined, digits: str) -> None:
    async def script(phone: Phone, server: Any) -> None:
        with pytest.raises(ValueError, match="0-9, "):
            phone.press(digits)

    joined(script)


def test_digits_from_the_server_are_recorded(joined: Joined) -> None:
    phone, _ = joined(sending(SendDtmf("12#"), until=0.1))
    assert [key.digit for key in phone.report().dtmf_received] == ["1", "2", "#"]


def test_a_key_cuts_the_agent_off(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(*[audio(0.5)] * 10)
        await phone.wait_until(1.02)
        phone.press("3")
        await server.until("dtmf")
        server.send(ClearAudio(STREAM))
        await phone.wait_for_silence(0.5)

    report = joined(script, identity=IDENTITY)[0].report()
    (interrupt,) = report.interrupts
    assert interrupt.by == "key 3"
    assert interrupt.time == pytest.approx(1.02)
    assert interrupt.seconds == pytest.approx(0.02)


def test_a_reply_is_timed_from_the_end_of_the_callers_speech(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.5)
        server.send(audio(0.3))
        await phone.wait_for_silence(0.1)

    (reply,) = joined(script, audio=tone(0.3))[0].report().replies
    assert reply.utterance_end == pytest.approx(0.3)
    assert reply.seconds == pytest.approx(0.22)


def test_audio_of_another_format_is_not_played(joined: Joined) -> None:
    report = joined(sending(audio(0.3, L16_16K), until=0.5), format=MULAW_8K)[0].report()
    assert report.audio_received == 0
    ((error, count),) = report.errors.items()
    assert error.startswith("incorrectPayload")
    assert "rate=16000" in error
    assert count == 1


def test_half_a_sample_is_not_played(joined: Joined) -> None:
    report = joined(sending(PlayAudio(b"\x01\x02\x03", L16_8K), until=0.1), format=L16_8K)[
        0
    ].report()
    assert report.audio_received == 0
    assert next(iter(report.errors)).startswith("incorrectPayload")


def test_a_full_playback_queue_is_an_error(joined: Joined) -> None:
    report = joined(sending(audio(1.0), audio(1.0), until=0.1), playback_limit=1.5)[0].report()
    assert report.audio_overflowed == pytest.approx(0.5)
    assert report.errors == {"playback queue full (1.5 s): audio is dropped": 1}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\x00\x01", "binary frame"),
        ("hello", "not_json"),
        ('{"event":"hangup"}', "unknown command 'hangup'"),
        ('{"event":"playAudio","media":{"contentType":"audio/x-mulaw"}}', "missing_field"),
    ],
)
def test_what_plivo_would_not_understand_is_counted(
    joined: Joined, message: bytes | str, error: str
) -> None:
    phone, _ = joined(sending(message, message, until=0.1))
    ((text, count),) = phone.report().errors.items()
    assert error in text
    assert count == 2
    assert kinds(phone).count("error") == 1


def test_departures_from_the_reference_are_obeyed_and_counted(joined: Joined) -> None:
    text = '{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":"8000",'
    text += '"payload":"' + "AAAA" * 40 + '"}}'

    phone, server = joined(sending(text, text, '{"event":"clearAudio"}', until=0.1))
    report = phone.report()
    assert report.warnings == {"sampleRate is a string": 2, "streamId is missing": 1}
    assert report.errors == {}
    assert report.audio_received == pytest.approx(0.03)
    assert len(server.events("clearedAudio")) == 1


def test_a_command_for_another_stream_is_not_obeyed(joined: Joined) -> None:
    phone, server = joined(sending(SetCheckpoint("another", "x"), ClearAudio("another"), until=0.1))
    assert set(phone.report().errors) == {
        "checkpoint for another stream",
        "clearAudio for another stream",
    }
    assert len(server.received) == len(server.events("start") + server.events("media"))


def test_a_stream_that_is_not_bidirectional_plays_nothing(joined: Joined) -> None:
    report = joined(sending(audio(0.1), until=0.2), bidirectional=False)[0].report()
    assert report.errors == {"command on a stream that is not bidirectional": 1}
    assert report.audio_received == 0


def test_a_checkpoint_whose_name_does_not_fit_an_answer_is_an_error(joined: Joined) -> None:
    report = joined(
        sending(SetCheckpoint(STREAM, "x" * (65_536 - 82)), until=0.1), identity=IDENTITY
    )[0].report()
    assert next(iter(report.errors)).startswith("checkpoint cannot be acknowledged")


def test_errors_of_endless_variety_are_kept_within_bounds(joined: Joined) -> None:
    errors = (
        joined(sending(*(f'{{"event":"{number}"}}' for number in range(150)), until=0.1))[0]
        .report()
        .errors
    )
    assert len(errors) == 101
    assert sum(errors.values()) == 150


def test_hanging_up_closes_the_socket(joined: Joined) -> None:
    phone, server = joined(nothing)
    report = phone.report()
    assert (report.ended_by, report.close_code) == ("caller", 1000)
    assert server.protocol.close_code == 1000
    assert server.events("stop") == []
    assert report.duration == pytest.approx(0.5)
    assert kinds(phone)[-1] == "stream_ended"


def test_hanging_up_twice_is_hanging_up(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.hang_up()
        await phone.hang_up()

    assert joined(script)[0].ended


def test_the_call_is_over_when_the_caller_hangs_up_not_when_the_socket_has_closed(
    joined: Joined,
) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.5)
        server.writer.transport.pause_reading()
        closing = asyncio.create_task(phone.hang_up())
        await asyncio.sleep(1.0)
        server.send(audio(1.0))
        await asyncio.sleep(1.0)
        server.writer.transport.resume_reading()
        await closing

    report = joined(script, close_timeout=3.0)[0].report()
    assert report.duration == pytest.approx(0.5)
    assert report.audio_received == 0
    assert report.messages_received == 1
    assert report.timeline[-1].time == report.duration


def test_a_stop_event_can_be_sent_at_the_end(joined: Joined) -> None:
    _, server = joined(nothing, send_stop=True)
    assert server.received[-1]["event"] == "stop"


def test_the_server_can_end_the_call(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.1)
        server.close(1001, "going away")
        await phone.wait_closed()

    report = joined(script)[0].report()
    assert (report.ended_by, report.close_code) == ("server", 1001)
    assert report.close_reason == "going away"


def test_a_lost_connection_ends_the_call(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.1)
        server.lose()
        await phone.wait_closed()

    report = joined(script)[0].report()
    assert (report.ended_by, report.close_code) == ("lost", 1006)


def test_a_message_over_64_kb_ends_the_call(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send("x" * 65_537)
        await phone.wait_closed()

    report = joined(script)[0].report()
    assert (report.ended_by, report.close_code) == ("protocol", 1009)


def test_whoever_waits_learns_of_the_end_of_the_call(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        waiting = asyncio.create_task(phone.wait_for_audio())
        await phone.wait_until(0.1)
        server.close()
        with pytest.raises(CallEnded):
            await waiting
        with pytest.raises(CallEnded):
            await phone.wait_for_silence(1.0)
        with pytest.raises(CallEnded):
            phone.press("1")

    joined(script)


def test_a_cancelled_wait_harms_nobody(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await phone.wait_for_audio()
        await phone.wait_until(0.3)

    assert joined(script)[0].ended


def test_what_the_server_does_not_read_is_held_for_40_s_and_then_dropped(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.writer.transport.pause_reading()
        await phone.wait_until(120.0)
        server.writer.transport.resume_reading()

    phone, _ = joined(script)
    ((error, count),) = phone.report().errors.items()
    assert error == "the server has not read for 40 s: frames are dropped"
    assert count > 500


def test_a_whole_call_lasts_until_both_have_finished(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        calling = asyncio.create_task(phone.call(silence=1.5))
        await server.until("media", 60)
        server.send(audio(1.0))
        report = await calling
        assert report.duration == pytest.approx(1.22 + 1.0 + 1.5)
        assert report.ended_by == "caller"

    joined(script, dial=False, audio=tone(1.0))


def test_a_whole_call_never_lasts_longer_than_it_may(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        assert (await phone.call(seconds=1.0)).duration == pytest.approx(1.0)

    joined(script, dial=False, audio=tone(10.0))


def test_silence_is_counted_from_the_call_on(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(5.0)
        assert await phone.wait_for_silence(0.5) == pytest.approx(5.5)

    joined(script)


def test_audio_that_is_being_heard_needs_no_waiting(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(1.0))
        await phone.wait_until(0.5)
        assert await phone.wait_for_audio() == pytest.approx(0.02)
        assert phone.time == pytest.approx(0.5)
        await phone.wait_until(1.2)
        server.send(audio(0.1))
        assert await phone.wait_for_audio() == pytest.approx(1.22)

    joined(script)


def test_a_phone_makes_one_call(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        with pytest.raises(RuntimeError, match="one call"):
            await phone.start()

    joined(script)


def test_audio_that_begins_after_a_moment_is_found_though_it_is_over(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(0.5))
        await phone.wait_until(1.0)
        server.send(audio(0.3))
        await phone.wait_until(2.0)
        assert await phone.wait_for_audio(after=0.0) == pytest.approx(0.02)
        assert await phone.wait_for_audio(after=0.5) == pytest.approx(1.02)
        assert phone.time == pytest.approx(2.0)

    phone, _ = joined(script)
    assert run_virtual(phone.wait_for_audio(after=0.5)) == pytest.approx(1.02)


def test_audio_under_way_does_not_begin_after_this_moment(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(1.0))
        await phone.wait_until(0.5)
        asked = phone.time
        asyncio.get_running_loop().call_later(2.0, server.send, audio(0.3))
        assert await phone.wait_for_audio() == pytest.approx(0.02)
        assert await phone.wait_for_audio(after=asked) == pytest.approx(2.52)

    joined(script)


def test_a_silence_after_a_moment_is_found_though_it_is_over(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(0.5))
        await phone.wait_until(1.5)
        server.send(audio(0.5))
        await phone.wait_until(1.8)
        assert await phone.wait_for_silence(0.8, after=0.1) == pytest.approx(1.32)
        assert await phone.wait_for_silence(0.8, after=1.0) == pytest.approx(2.82)

    joined(script)


@pytest.mark.parametrize(
    ("wait", "what", "seconds"),
    [
        (lambda phone: phone.wait_for_audio(), "the agent to speak", 30.0),
        (lambda phone: phone.wait_for_audio(within=2.0), "the agent to speak", 2.0),
        (
            lambda phone: phone.wait_for_audio(after=0.5, within=2.0),
            r"the agent to begin to speak after 0\.50 s",
            2.0,
        ),
        (lambda phone: phone.wait_closed(within=2.0), "the call to be over", 2.0),
    ],
)
def test_a_wait_has_a_limit_in_the_time_of_the_call(
    joined: Joined,
    wait: Callable[[Phone], Awaitable[object]],
    what: str,
    seconds: float,
) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(0.3), SetCheckpoint(STREAM, "greeting"))
        await phone.wait_until(1.0)
        with pytest.raises(WaitTimeoutError, match=rf"^waited .* s for {what}; ") as late:
            await wait(phone)
        assert phone.time == pytest.approx(1.0 + seconds)
        assert str(late.value).endswith(
            f"the call is at {1.0 + seconds:.2f} s; "
            "the agent was last heard from 0.02 s to 0.32 s; "
            "the last event was checkpoint_played greeting at 0.32 s"
        )

    joined(script, identity=IDENTITY)


def test_an_agent_that_never_stops_is_not_waited_for_longer_than_the_limit(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(*[audio(1.0)] * 10)
        with pytest.raises(WaitTimeoutError, match=r"0\.5 s without speech from the agent"):
            await phone.wait_for_silence(0.5, within=2.0)
        assert phone.time == pytest.approx(2.5)

    joined(script)


def test_what_takes_long_by_itself_needs_no_limit(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        phone.say(tone(31.0))
        assert await phone.wait_spoken() == pytest.approx(31.0)
        assert await phone.wait_until(62.0) == pytest.approx(62.0)
        assert await phone.wait_for_silence(32.0) == pytest.approx(94.0)

    joined(script)


def test_a_wait_that_the_end_of_the_call_ends_says_how_it_ended(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        asyncio.get_running_loop().call_later(1.0, server.close, 1011, "the handler failed")
        with pytest.raises(CallEnded, match="waited for the agent to speak") as ended:
            await phone.wait_for_audio()
        how = "the call ended at 1.00 s by server, code 1011 the handler failed"
        assert f"{how}; the agent has not been heard" in str(ended.value)
        with pytest.raises(CallEnded, match=how):
            phone.press("1")
        await phone.wait_closed()

    joined(script)


@pytest.mark.parametrize("before", [True, False])
def test_commands_can_be_watched(joined: Joined, before: bool) -> None:
    seen: list[Command] = []

    def watch(command: Command, now: float) -> None:
        seen.append(command)

    async def script(phone: Phone, server: Any) -> None:
        phone.on_command = watch if before else None
        await phone.start()
        phone.on_command = watch
        server.send(SendDtmf("1"), SetCheckpoint("another", "not obeyed"))
        await phone.wait_until(0.1)

    joined(script, dial=False)
    assert seen == [SendDtmf("1")]


def test_before_the_call_there_is_nothing_to_wait_for() -> None:
    async def scenario() -> None:
        phone = Phone("ws://agent.example/")
        assert (phone.started, phone.ended, phone.time) == (False, False, 0.0)
        await phone.hang_up()
        with pytest.raises(CallEnded, match="not been started"):
            await phone.wait_until(1.0)

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": AudioFormat("alaw", 8000)}, "a Plivo stream cannot be .*; allowed: "),
        ({"tracks": ()}, "tracks must be"),
        ({"tracks": ("both",)}, "tracks must be"),
        ({"tracks": ("inbound", "outbound")}, "bidirectional"),
        ({"extra_headers": {"k": "x" * 600}}, "512"),
        ({"extra_headers": {"k": "a,b"}}, "a,b"),
        ({"audio": np.zeros(8, np.float32)}, "int16"),
    ],
)
def test_what_plivo_would_not_take_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phone("ws://agent.example/", **options)


# What goes wrong on request, on the wire.


def wrong(*texts: str) -> Misbehaviour:
    return Misbehaviour.parse(*texts)


def test_drop_loses_the_connection_without_a_close_frame(joined: Joined) -> None:
    phone, server = joined(until_closed, misbehaviour=wrong("drop@0.3"))
    report = phone.report()
    assert (report.ended_by, report.duration) == ("caller", pytest.approx(0.3))
    assert report.misbehaviour == "drop@0.3"
    assert server.protocol.close_code == 1006
    assert "misbehaviour" in kinds(phone)


def test_half_close_shuts_the_sending_side_only(joined: Joined) -> None:
    phone, server = joined(until_closed, misbehaviour=wrong("half-close@0.3"))
    assert server.protocol.close_code == 1006
    assert len(server.events("media")) == 15
    assert phone.report().errors == {}


def test_a_phone_that_stops_reading_still_sends(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(0.3)
        server.send(audio(0.1))
        await phone.wait_until(0.6)

    phone, server = joined(script, misbehaviour=wrong("stop-reading@0.2"))
    assert phone.report().messages_received == 0
    assert len(server.events("media")) == 30


def test_fragments_add_up_to_whole_messages(joined: Joined) -> None:
    _, server = joined(nothing, misbehaviour=wrong("fragmented"))
    assert server.fragments == 2 * len(server.received)
    assert len(server.events("media")) == 25


def test_binary_frames_are_binary(joined: Joined) -> None:
    _, server = joined(nothing, misbehaviour=wrong("binary"))
    assert {type(message) for message in server.received} == {bytes}


def test_an_oversize_message_is_sent_whole(joined: Joined) -> None:
    _, server = joined(nothing, misbehaviour=wrong("oversize@0.1"))
    assert max(len(json.dumps(message)) for message in server.received) > 65_536


def test_garbage_is_sent_as_text(joined: Joined) -> None:
    async def script(phone: Phone, server: Any) -> None:
        await phone.wait_until(2.0)

    _, server = joined(script, misbehaviour=wrong("garbage"))
    assert GARBAGE[1] in server.received


@pytest.mark.parametrize(
    "text",
    ["late:80ms", "bursts:5", "odd-sizes", "out-of-order", "string-numbers", "missing-numbers"],
)
def test_a_misbehaving_phone_still_plays_and_hangs_up(joined: Joined, text: str) -> None:
    async def script(phone: Phone, server: Any) -> None:
        server.send(audio(0.2), SetCheckpoint(STREAM, "end"))
        await server.until("playedStream")
        await phone.wait_until(0.5)

    phone, _ = joined(script, identity=IDENTITY, misbehaviour=wrong(text))
    report = phone.report()
    assert (report.ended_by, report.misbehaviour) == ("caller", text.replace("80ms", "0.08s"))
    assert report.audio_played == pytest.approx(0.2)


def test_no_acks_leaves_checkpoints_unanswered_but_known(joined: Joined) -> None:
    phone, server = joined(
        sending(SetCheckpoint(STREAM, "end"), until=0.5),
        identity=IDENTITY,
        misbehaviour=wrong("no-acks"),
    )
    assert server.events("playedStream") == []
    assert phone.report().checkpoints[0].played == pytest.approx(0.02)


# With a server of websockets.


GREETING = (
    '{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":8000,"payload":"'
    + "AAAA" * 400
    + '"}}'
)


async def greet(connection: ServerConnection) -> None:
    """Say a little, and hear the caller out."""
    await connection.send(GREETING)
    async for _ in connection:
        pass


async def listen(connection: ServerConnection) -> None:
    """Take one message, and end the call."""
    await connection.recv()


@pytest.fixture
def called(serving: Callable[..., Any]) -> Callable[..., CallReport]:
    """Have a phone make a whole call to a handler; return its report."""

    def run(handler: Callable[..., Any], audio: Any = None, **options: Any) -> CallReport:
        async def scenario() -> CallReport:
            async with serving(handler) as url:
                return await Phone(url, audio=audio).call(**options)

        return run_virtual(scenario())

    return run


def test_a_whole_call(called: Callable[..., CallReport]) -> None:
    report = called(greet, tone(0.1), silence=0.1)
    assert report.ended_by == "caller"
    assert report.audio_played == pytest.approx(0.15)


@pytest.mark.parametrize("seconds", [0.5, None])
def test_a_call_has_a_limit(
    called: Callable[..., CallReport], monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    monkeypatch.setattr("mediaserver.sandbox.phone.phone.LONGEST_CALL", 5.0)
    report = called(greet, silence=60.0, seconds=seconds)
    assert (report.ended_by, report.duration) == ("caller", pytest.approx(seconds or 5.0))


def test_a_call_ends_when_the_server_ends_it(called: Callable[..., CallReport]) -> None:
    assert called(listen).ended_by == "server"


def test_a_call_over_tls() -> None:
    authority = trustme.CA()
    there, here = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    authority.issue_cert("agent.example").configure_cert(there)
    authority.configure_trust(here)

    async def scenario() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/agent"

            def phone(**options: Any) -> Phone:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(path)
                return Phone("wss://agent.example/", sock=sock, **options)

            async with unix_serve(greet, path, compression=None, ssl=there):
                async with phone(ssl=here) as trusting:
                    await trusting.wait_for_audio()
                with pytest.raises(CallFailed, match=r"cannot call .*certificate"):
                    await phone().start()
        report = trusting.report()
        assert report.close_code == 1000

    run_virtual(scenario())


async def test_opening_a_call_takes_time() -> None:
    """By the real clock, over a real connection."""
    async with serve(greet, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
        async with Phone(url, open_timeout=60.0) as phone:
            assert phone.report().connect_seconds > 0
