from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from mediaserver.protocol import Media, encode_event
from mediaserver.sandbox.wire.messages import MediaEncoder, StreamIdentity


STREAM_ID = "7be0ad52-38fb-4d1b-9f61-6d3aa6f4c4f2"


@given(
    payload=st.binary(max_size=1300),
    sequence=st.integers(1, 2**40),
    timestamp=st.integers(0, 2**45),
    chunk=st.integers(1, 2**40),
    headers=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    track=st.sampled_from(["inbound", "outbound"]),
)
def test_the_fast_encoder_writes_what_encode_event_writes(
    payload: bytes, sequence: int, timestamp: int, chunk: int, headers: str, track: str
) -> None:
    fast = MediaEncoder(STREAM_ID, track, headers)
    for number in (chunk, chunk + 1):
        event = Media(payload, track, timestamp, number, STREAM_ID, sequence, headers)
        assert fast(payload, sequence, timestamp, number) == encode_event(event)


def test_ids_are_of_the_kinds_plivo_gives() -> None:
    identity = StreamIdentity.new()
    assert UUID(identity.call_id).version == UUID(identity.stream_id).version == 4
    assert identity.account_id.startswith("MA")
    assert len(identity.account_id) == 20
    assert identity != StreamIdentity.new()
