"""What is kept of a stream outside of its process, for the one that resumes its call."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import msgspec

from mediaserver.call import StreamReport, Turn
from mediaserver.stream import Stream


_TURNS: Final = 50
"""Most turns that are kept, the latest."""


class KeptStream(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a stream."""

    stream_id: str
    turns: tuple[Turn, ...] = ()
    wanted: bool = False
    """Whether it has ended as it should, so that its call is not resumed."""
    process: str = ""
    """The process that has, or had, it."""
    end_reason: str = ""
    """Why it ended, if that is known."""

    @classmethod
    def of(cls, stream: Stream, process: str) -> KeptStream:
        """Keep what is known of a stream now."""
        return cls(stream.stream_id, _kept(stream.turns), process=process)

    @classmethod
    def last(cls, report: StreamReport | None, process: str) -> KeptStream:
        """Keep what is known of a stream that is over; without a report, that it was wanted."""
        if report is None:
            return cls("", wanted=True, process=process)
        turns = _kept(report.turns)
        return cls(report.stream_id, turns, process=process, end_reason=report.end_reason)

    @classmethod
    def read(cls, kept: bytes) -> KeptStream | None:
        """Read what `to_bytes` wrote; None if another version did."""
        try:
            return _decoder.decode(kept)
        except msgspec.DecodeError:
            return None

    def to_bytes(self) -> bytes:
        """Return it in the form in which it is kept."""
        return msgspec.msgpack.encode(self)


def _kept(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Return the latest turns without what means nothing to another process."""
    return tuple(replace(turn, at=0.0, steps=()) for turn in turns[-_TURNS:])


_decoder = msgspec.msgpack.Decoder(KeptStream)


def report_of_gone(
    kept: KeptStream | None,
    *,
    call_id: str,
    caller: str | None,
    called: str | None,
    path: str,
    answered: float,
    now: float,
    end_reason: str,
) -> StreamReport:
    """Return the report of a stream whose process is gone, from what is still known of it.

    Args:
        kept: What was kept of it, if anything.
        call_id: Plivo's CallUUID.
        caller: The caller's number.
        called: The number that was dialled.
        path: The path of its URL.
        answered: When its call was answered, in seconds since the epoch.
        now: The present time, likewise.
        end_reason: What to say of its end, if nothing else is known.

    """
    return StreamReport(
        call_id=call_id,
        stream_id=kept.stream_id if kept else "",
        caller=caller,
        called=called,
        path=path,
        started_at=datetime.fromtimestamp(answered, UTC),
        seconds=max(0.0, now - answered),
        end_reason=(kept.end_reason if kept else "") or end_reason,
        turns=kept.turns if kept else (),
    )
