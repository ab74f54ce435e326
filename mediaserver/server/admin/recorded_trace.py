"""The lines of a call that has ended, from its record: its turns, and why it ended.

They are fewer than those of a trace, and have the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from mediaserver.call.follower import STREAM_ENDED
from mediaserver.call.turn import STAGES
from mediaserver.captures.capture_lines import UNREADABLE
from mediaserver.protocol.errors import without_quote
from mediaserver.server.admin.call_trace import HIDDEN_WORDS


def recorded_lines(
    call: Mapping[str, Any],
    turns: Sequence[Mapping[str, Any]],
    *,
    personal_data: bool,
    recording: bool = False,
    transcript: Iterable[Mapping[str, Any]] = (),
) -> Iterator[str]:
    """Yield the lines of a recorded call, as JSON objects in the order of their times.

    Args:
        call: the columns of its record.
        turns: those of its turns, in their order.
        personal_data: whether they have what was said, if it was recorded.
        recording: whether there is an audio file of the call that may be heard, which a line says.
        transcript: lines of `transcript_lines`, which are there unless the turns have words.

    """
    if recording:
        yield msgspec.json.encode({"at": 0.0, "what": "recording"}).decode()
    lines = [line for turn in turns for line in _of_turn(call, turn)]
    if not any("words" in line for line in lines):
        lines += map(dict, transcript)
    lines.sort(key=lambda line: line["at"])
    if call["seconds"] is not None:
        lines.append({"at": call["seconds"], "what": STREAM_ENDED, "reason": call["reason"] or ""})
    for line in lines:
        if not personal_data:
            line |= _hidden(line)
        yield msgspec.json.encode(line | {"at": round(line["at"], 4)}).decode()


def transcript_lines(path: str | None) -> Iterator[dict[str, Any]]:
    """Yield what was said by the file of a `Transcriber`; nothing of another file, or of none."""
    if path is None:
        return
    with suppress(OSError, ValueError), Path(path).open("rb") as file:
        for text in file.read(_LONGEST_TRANSCRIPT).split(b"\n"):
            try:
                said = msgspec.json.decode(text, type=_Said)
            except UNREADABLE:
                continue
            if said.track == "outbound":
                line = {"at": said.start, "words": said.text}
                yield {"at": said.start, "what": "reply begins"}
                yield {"what": "says", **line}
                yield {"what": "spoken", **line, "heard_in": said.end - said.start}
            else:
                yield {"at": said.end, "what": "understood", "words": said.text}


_LONGEST_TRANSCRIPT: Final = 5_000_000
"""Bytes of a transcript that are read: days of speech."""


class _Said(msgspec.Struct):
    """A line of a transcript."""

    track: str
    start: float
    end: float
    text: str


def _hidden(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown in place of personal data."""
    hidden = {"words": HIDDEN_WORDS} if "words" in line else {}
    if "reason" in line:
        hidden["reason"] = without_quote(line["reason"])
    # What a service said when it failed may quote the caller.
    return hidden | ({"error": "failed"} if line.get("error") else {})


def _of_turn(call: Mapping[str, Any], turn: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    began = (turn["at"] - call["started_at"]).total_seconds()
    stages = {name: turn[name] for name in STAGES if turn[name] is not None}
    # The caller's words are there if they are recorded, and if it is a turn and no greeting.
    if turn["caller"]:
        at = began + stages.get("transcript", 0.0)
        yield {"at": at, "what": "understood", "words": turn["caller"]}
    if turn["agent"]:
        at = began + stages.get("audio_heard", 0.0)
        yield {"at": at, "what": "says", "words": turn["agent"]}
    yield {
        "at": began + max(stages.values(), default=0.0),
        "what": "turn",
        "number": turn["number"],
        **{name: round(seconds, 3) for name, seconds in stages.items()},
        "interrupted": bool(turn["interrupted"]),
        "error": turn["error"],
        # As in a live trace: what the caller said, and what they heard of the answer.
        **({"words": [turn["caller"] or "", turn["agent"]]} if turn["agent"] else {}),
    }
