import uuid
from string import ascii_lowercase
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K
from mediaserver.protocol import (
    MAX_PLAY_BYTES,
    ClearAudio,
    ClearedAudio,
    Dtmf,
    Media,
    PlayAudio,
    PlayedStream,
    SendDtmf,
    SetCheckpoint,
    Start,
    Stop,
    StreamError,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
    format_extra_headers,
    parse_extra_headers,
)


STYLES: Any = ["live", "documented", "json"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NAME = TEXT.filter(bool)
UUID = st.uuids(version=4).map(str)
COUNT = st.integers(1, 2**63 - 1)
TIMESTAMP = st.integers(0, 2**63 - 1)
TRACK = st.sampled_from(["inbound", "outbound"])
FORMAT = st.sampled_from([MULAW_8K, L16_8K, L16_16K, L16_24K])
KEYS = "0123456789*#ABCD"

STARTS = st.builds(
    lambda headers, **fields: Start(
        extra_headers=parse_extra_headers(headers), extra_headers_text=headers, **fields
    ),
    headers=TEXT
    | st.dictionaries(
        st.text(ascii_lowercase, min_size=1, max_size=8),
        st.text(st.characters(categories=["L", "Nd"]), max_size=9),
        max_size=4,
    ).flatmap(
        lambda headers: st.sampled_from(STYLES).map(
            lambda style: format_extra_headers(headers, style)
        )
    ),
    call_id=UUID,
    stream_id=UUID,
    account_id=NAME,
    tracks=st.lists(TRACK, min_size=1, max_size=2, unique=True).map(tuple),
    media_format=FORMAT,
    sequence_number=COUNT,
)
MEDIA = st.builds(Media, st.binary(max_size=2000), TRACK, TIMESTAMP, COUNT, UUID, COUNT, TEXT)
DTMF = st.builds(Dtmf, st.sampled_from(KEYS), TRACK, TIMESTAMP, UUID, COUNT, TEXT)
EVENTS = st.one_of(
    STARTS,
    MEDIA,
    DTMF,
    st.builds(PlayedStream, NAME, UUID, COUNT),
    st.builds(ClearedAudio, UUID, COUNT),
    st.builds(Stop, TEXT, TEXT, st.none() | COUNT),
    st.builds(
        StreamError,
        st.sampled_from(["error", "playFailed", "incorrectPayload"]),
        NAME,
        TEXT,
        st.none() | COUNT,
    ),
)
COMMANDS = st.one_of(
    st.builds(PlayAudio, st.binary(min_size=1, max_size=2000), FORMAT),
    st.builds(SetCheckpoint, NAME, NAME),
    st.builds(ClearAudio, NAME),
    st.builds(SendDtmf, st.text(KEYS, min_size=1, max_size=40)),
)


@given(EVENTS)
def test_an_event_is_read_back_as_it_was_written_and_written_as_it_was_read(event: Any) -> None:
    message = encode_event(event)
    assert decode_event(message) == event
    assert encode_event(decode_event(message.encode())) == message


@given(COMMANDS)
def test_a_command_is_read_back_without_a_warning_and_written_as_it_was_read(command: Any) -> None:
    message = encode_command(command)
    assert decode_command(message) == command
    assert encode_command(decode_command(message.decode())) == message


def test_the_largest_payload_is_read_back() -> None:
    command = PlayAudio(bytes(MAX_PLAY_BYTES), MULAW_8K)
    assert decode_command(encode_command(command)) == command


def test_extra_headers_of_a_start_are_read_back_from_the_mapping_alone() -> None:
    ids = (str(uuid.uuid4()), str(uuid.uuid4()), "MA")
    headers = {"agent": "7", "token": "123.abc"}
    event = Start(*ids, media_format=MULAW_8K, extra_headers=headers, sequence_number=1)
    read = decode_event(encode_event(event))
    assert isinstance(read, Start)
    assert read.extra_headers == headers
