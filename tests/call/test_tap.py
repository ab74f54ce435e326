"""One tap that hears both sides of a session."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from mediaserver.call import CallSettings, Frame, Session, Tap, Turn, Wire


class Shell:
    """A shell that sends nowhere."""

    def send(self, message: bytes) -> None: ...

    def started(self) -> None: ...

    def fail(self, code: int, reason: str) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def notice(self, text: str, /, **details: str | int) -> None: ...

    def reported(self, turn: Turn) -> None: ...


class Notes:
    """Writes down what a tap is given."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int, float]] = []

    def received(self, frame: Frame, at: float) -> None:
        self.notes.append(("received", len(frame.payload), at))

    def sent(self, audio: Wire, at: float) -> None:
        self.notes.append(("sent", len(audio), at))

    def cut(self, at: float) -> None:
        self.notes.append(("cut", 0, at))


def test_it_hears_both_sides_at_the_times_of_the_call(clock: Callable[[], float]) -> None:
    session = Session(clock, Shell(), CallSettings())
    start = {"callId": "call", "streamId": "stream", "accountId": "account", "tracks": ["inbound"]}
    session.receive(json.dumps({"event": "start", "start": start}))
    assert session.started is not None
    playout, notes = session.started.playout, Notes()
    tap: Tap = notes
    playout.tap = tap
    playout.round_trip = 0.1

    payload = base64.b64encode(bytes(160)).decode()
    media = {"event": "media", "media": {"track": "inbound", "payload": payload}}
    session.receive(json.dumps(media))
    playout.play(bytes(800))
    playout.play(bytes(800))
    session.interrupt()

    now = clock()
    assert notes.notes == [
        ("received", 160, now),
        ("sent", 800, now + 0.1),
        ("sent", 800, now + 0.1 + 0.1),
        ("cut", 0, now + 0.1),
    ]
