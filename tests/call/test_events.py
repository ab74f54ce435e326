from __future__ import annotations

import dataclasses
import typing

import pytest

from audiocodecs import MULAW_8K
from mediaserver.call import (
    Checkpoint,
    Control,
    Frame,
    Interrupt,
    Reconnected,
    StreamEvent,
    StreamStatus,
    Turn,
)
from mediaserver.protocol import Dtmf, StreamError


EVENTS = [
    Checkpoint("end", played=True),
    Interrupt(0.5),
    Reconnected(0.2),
    StreamStatus(kind="connected"),
    Turn(number=1),
]


def test_a_handler_gets_these_events_and_frames() -> None:
    assert set(typing.get_args(Control)) == {*map(type, EVENTS), Dtmf, StreamError}
    assert set(typing.get_args(StreamEvent)) == {*typing.get_args(Control), Frame}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_cannot_be_changed(
    event: Checkpoint | Interrupt | Reconnected | StreamStatus | Turn,
) -> None:
    field = dataclasses.fields(event)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, None)


def test_events_are_equal_by_what_they_say() -> None:
    assert Checkpoint("end", played=True) == Checkpoint("end", played=True)
    assert Checkpoint("end", played=True) != Checkpoint("end", played=False)
    assert StreamStatus(kind="played", name="a") != StreamStatus(kind="played", name="b")


def test_of_a_status_only_its_kind_is_always_known() -> None:
    status = StreamStatus(kind="stopped")
    assert (status.name, status.error, status.reason, status.duration) == (None,) * 4


def test_frames_are_events_by_identity() -> None:
    frame = Frame(b"\xff", MULAW_8K)
    assert frame != Frame(b"\xff", MULAW_8K)
