import json
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol import (
    ClearedAudio,
    Dtmf,
    Media,
    PlayedStream,
    ProtocolError,
    Start,
    Stop,
    decode_event,
)
from mediaserver.sandbox.audio.voice import CallerVoice
from mediaserver.sandbox.wire.messages import StreamIdentity, WireMessage
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.uplink import GARBAGE, Uplink


FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]
IDENTITY = StreamIdentity(
    "0d3a5a4e-8f9c-4b0e-9d43-3c3b5f1f9b10",
    "7be0ad52-38fb-4d1b-9f61-6d3aa6f4c4f2",
    "MA0123456789ABCDEFGH",
)
EPOCH_MS = 1_705_312_200_000


class Sender(Uplink):
    """An uplink whose inbound track is what a voice says; every other track is silent."""

    def __init__(self, voice: CallerVoice, **options: Any) -> None:
        super().__init__(IDENTITY, voice.format, epoch_ms=EPOCH_MS, **options)
        self.voice = voice
        self.tracks = options.get("tracks", ("inbound",))

    def tick(self, tick: int) -> list[WireMessage]:
        """Return the messages that are due once `tick` ticks are over."""
        samples = self.voice.format.rate // 50
        silence = self.voice.format.silence * samples
        sent: list[WireMessage] = []
        while self.ticks < tick:
            said = self.voice.take(len(silence))
            sent += self.frame([said if track == "inbound" else silence for track in self.tracks])
        return sent


def uplink(
    *wrong: str, format: AudioFormat = MULAW_8K, says: bytes = b"", **options: Any
) -> Sender:
    voice = CallerVoice(format)
    voice.say(says)
    return Sender(voice, misbehaviour=Misbehaviour.parse(*wrong), **options)


def messages(sender: Sender, ticks: int) -> list[dict[str, Any]]:
    return [json.loads(message) for message in sender.opening() + sender.tick(ticks)]


def media(sender: Sender, ticks: int) -> list[Media]:
    events = [decode_event(message) for message in sender.opening() + sender.tick(ticks)]
    return [event for event in events if isinstance(event, Media)]


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_opens_with_start(format: AudioFormat) -> None:
    sender = uplink(format=format, extra_headers_text="{X-PH-agent: 7}")
    (opening,) = sender.opening()
    assert json.loads(opening) == {
        "event": "start",
        "sequenceNumber": 1,
        "start": {
            "callId": IDENTITY.call_id,
            "streamId": IDENTITY.stream_id,
            "accountId": IDENTITY.account_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": format.content_type, "sampleRate": format.rate},
        },
        "extra_headers": "{X-PH-agent: 7}",
    }


def test_the_first_frame_leaves_when_its_20_ms_are_over() -> None:
    sender = uplink()
    sender.opening()
    assert sender.tick(0) == []
    (frame,) = sender.tick(1)
    assert json.loads(frame) == {
        "event": "media",
        "sequenceNumber": 2,
        "streamId": IDENTITY.stream_id,
        "media": {
            "track": "inbound",
            "timestamp": str(EPOCH_MS),
            "chunk": 1,
            "payload": json.loads(frame)["media"]["payload"],
        },
        "extra_headers": "",
    }
    event = decode_event(frame)
    assert isinstance(event, Media)
    assert event.payload == MULAW_8K.silence * 160


@pytest.mark.parametrize("format", FORMATS)
def test_frames_are_20_ms_apart_and_20_ms_long(format: AudioFormat) -> None:
    frames = media(uplink(format=format), 5)
    assert [frame.timestamp for frame in frames] == [EPOCH_MS + 20 * n for n in range(5)]
    assert [frame.chunk for frame in frames] == [1, 2, 3, 4, 5]
    assert [frame.sequence_number for frame in frames] == [2, 3, 4, 5, 6]
    assert {format.seconds(frame.payload) for frame in frames} == {0.02}


def test_ticks_missed_in_a_stall_are_made_up_for() -> None:
    sender = uplink()
    assert len(sender.tick(3)) == 3
    assert sender.tick(3) == []
    assert len(sender.tick(50)) == 47
    assert sender.ticks == 50


def test_what_the_caller_says_is_sent() -> None:
    samples = np.arange(-400, 400, dtype=np.int16)
    frames = media(uplink(format=L16_8K, says=L16_8K.encode(samples)), 6)
    heard = L16_8K.decode(b"".join(frame.payload for frame in frames))
    np.testing.assert_array_equal(heard[:800], samples)
    assert not heard[800:].any()


def test_each_track_has_its_frames_and_only_the_inbound_one_the_caller() -> None:
    sender = uplink(says=b"\x00" * 320, tracks=("inbound", "outbound"))
    frames = media(sender, 2)
    assert [(frame.track, frame.chunk) for frame in frames] == [
        ("inbound", 1),
        ("outbound", 1),
        ("inbound", 2),
        ("outbound", 2),
    ]
    assert [frame.sequence_number for frame in frames] == [2, 3, 4, 5]
    assert {frame.payload for frame in frames if frame.track == "outbound"} == {
        MULAW_8K.silence * 160
    }


def test_keys_answers_and_stop_share_the_sequence() -> None:
    sender = uplink(extra_headers_text="{}")
    sent = [
        *sender.opening(),
        *sender.dtmf("5", 1.25),
        *sender.played("greeting"),
        *sender.cleared(("greeting",)),
        *sender.stop(),
    ]
    stream_id = IDENTITY.stream_id
    assert [decode_event(message) for message in sent[1:]] == [
        Dtmf("5", "inbound", EPOCH_MS + 1250, stream_id, 2, "{}"),
        PlayedStream("greeting", stream_id, 3),
        ClearedAudio(stream_id, 4),
        Stop("", stream_id, 5),
    ]


def test_late_frames_are_late_and_in_order() -> None:
    sender, punctual = uplink("late:80ms"), uplink()
    counts = [len(sender.tick(tick)) for tick in range(1, 101)]
    assert 0 in counts
    assert max(counts) > 1
    behind = [tick + 1 - sum(counts[: tick + 1]) for tick in range(100)]
    assert 0 < max(behind) <= 4
    assert min(behind) >= 0
    chunks = [frame.chunk for frame in media(uplink("late:80ms"), 100)]
    assert chunks == [frame.chunk for frame in media(punctual, 100)][: len(chunks)]


def test_bursts_come_so_many_at_once() -> None:
    sender = uplink("bursts:10")
    assert [len(sender.tick(tick)) for tick in range(1, 31)] == ([0] * 9 + [10]) * 3


@pytest.mark.parametrize("format", FORMATS)
def test_odd_sizes_are_never_20_ms_and_lose_nothing(format: AudioFormat) -> None:
    clip = format.encode((np.arange(format.rate) % 3000).astype(np.int16))
    frames = media(uplink("odd-sizes", format=format, says=clip), 60)
    sizes = {len(frame.payload) for frame in frames}
    assert len(sizes) > 5
    assert format.rate // 50 * format.sample_bytes not in sizes
    assert all(size % format.sample_bytes == 0 for size in sizes)
    assert b"".join(frame.payload for frame in frames).startswith(clip)
    position = 0
    for frame in frames:
        assert frame.timestamp == EPOCH_MS + position * 1000 // format.bytes_per_second
        position += len(frame.payload)


def test_out_of_order_swaps_every_other_pair() -> None:
    chunks = [frame.chunk for frame in media(uplink("out-of-order"), 8)]
    assert chunks == [2, 1, 3, 4, 6, 5, 7, 8]


def test_string_numbers_are_strings_everywhere() -> None:
    start, frame, *_ = messages(uplink("string-numbers"), 1)
    assert (start["sequenceNumber"], frame["sequenceNumber"]) == ("1", "2")
    assert (frame["media"]["chunk"], frame["media"]["timestamp"]) == ("1", str(EPOCH_MS))


def test_missing_numbers_are_missing_everywhere() -> None:
    sender = uplink("missing-numbers")
    start, frame = messages(sender, 1)
    (key,) = (json.loads(message) for message in sender.dtmf("1", 1.0))
    for message in (start, frame, frame["media"], key, key["dtmf"]):
        assert not {"sequenceNumber", "chunk", "timestamp"} & message.keys()
    assert frame["media"]["payload"]


def test_media_can_come_before_start() -> None:
    kinds = [message["event"] for message in messages(uplink("media-before-start"), 1)]
    assert kinds == ["media", "media", "media", "start", "media"]


def test_start_can_be_missing() -> None:
    assert [message["event"] for message in messages(uplink("no-start"), 2)] == ["media"] * 2


def test_start_can_come_twice() -> None:
    kinds = [message["event"] for message in messages(uplink("duplicate-start"), 60)]
    assert kinds.count("start") == 2
    assert kinds[50] == "start"


def test_garbage_comes_five_times_a_second_between_whole_frames() -> None:
    sender = uplink("garbage")
    sent = sender.tick(10 * len(GARBAGE))
    assert [message for message in sent if message in GARBAGE] == list(GARBAGE)
    assert len(sent) == 11 * len(GARBAGE)


def test_garbage_stays_as_it_is_among_odd_numbers() -> None:
    sent = uplink("garbage", "missing-numbers").tick(10 * len(GARBAGE))
    assert len([message for message in sent if message in GARBAGE]) >= len(GARBAGE) - 1


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_no_event_of_a_stream(text: str) -> None:
    try:
        event = decode_event(text)
    except ProtocolError:
        return
    assert not isinstance(event, Start | Media | Dtmf | ClearedAudio | Stop)


def test_one_oversize_message_is_sent_at_its_time() -> None:
    sender = uplink("oversize@0.1")
    sizes = [[len(message) for message in sender.tick(tick)] for tick in range(1, 10)]
    assert [max(tick) > 65_536 for tick in sizes] == [False] * 5 + [True] + [False] * 3


def test_nothing_is_sent_any_more_after_stop_sending() -> None:
    sender = uplink("stop-sending@0.1", says=b"\x00" * 8000)
    assert len(sender.tick(4) + sender.dtmf("1", 0.09)) == 5
    assert len(sender.tick(100)) == 1
    assert not sender.voice.speaking
    assert sender.dtmf("1", 2.0) + sender.played("x") + sender.cleared(("y",)) + sender.stop() == []


def test_binary_frames_are_bytes() -> None:
    sender = uplink("binary", "garbage")
    assert {type(message) for message in sender.opening() + sender.tick(20)} == {bytes}


@pytest.mark.parametrize(
    ("wrong", "events"),
    [
        ([], ["playedStream", "clearedAudio"]),
        (["no-acks"], ["clearedAudio"]),
        (["no-cleared"], ["playedStream"]),
        (["acks-cleared"], ["playedStream", "clearedAudio", "playedStream", "playedStream"]),
    ],
)
def test_answers_to_the_server(wrong: list[str], events: list[str]) -> None:
    sender = uplink(*wrong)
    sent = sender.played("one") + sender.cleared(("two", "three"))
    assert [json.loads(message)["event"] for message in sent] == events


@pytest.mark.parametrize("wrong", ["late:100ms", "odd-sizes"])
def test_what_is_random_is_the_same_for_the_same_seed(wrong: str) -> None:
    first, same, other = (uplink(wrong, seed=seed).tick(100) for seed in (1, 1, 2))
    assert first == same
    assert first != other
