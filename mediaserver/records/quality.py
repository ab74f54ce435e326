"""Why a call was bad: the limits of what a caller bears, and what to say beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final


LIMITS: Final[Mapping[str, float]] = {
    "underrun_seconds": 0.1,
    "producer_gap_seconds": 1.0,
    "frames_lost": 25,
    "frames_dropped": 25,
    "loop_lag": 0.1,
    "slowest_answer": 2.5,
    "turns_failed": 0,
}
"""A call is bad if one of these columns is larger."""

BAD_CAUSES: Final = ("handler_error", "lost", "process_lost")
"""A call is bad if it has ended for one of these."""

_TEXTS: Final[Mapping[str, str]] = {
    "underrun_seconds": "audio that was ready was sent too late: {underruns} gaps,"
    " {underrun_seconds:.2f} s. The network, or the machine, was too slow",
    "producer_gap_seconds": "speech had {producer_gaps} gaps, {producer_gap_seconds:.2f} s, because"
    " no more audio came. The handler, or its speech service, was too slow",
    "frames_lost": "{frames_lost} frames of the caller's audio never came ({lost:.1f} s)",
    "frames_dropped": "{frames_dropped} frames of the caller's audio were dropped, because the"
    " handler did not read them in time",
    "loop_lag": "the event loop stood still for {loop_lag:.2f} s: something blocks it, or the"
    " machine is too busy",
    "slowest_answer": "the slowest answer came after {slowest_answer:.2f} s",
    "turns_failed": "{turns_failed} of {turns} turns failed",
}

_ENDS: Final[Mapping[str, str]] = {
    "handler_error": "the handler raised {error}; the log has the traceback",
    "lost": "the connection was lost: {reason}",
    "process_lost": "the process {process} died while it had the call",
}

_STAGES: Final = (
    ("end_of_turn", "detecting that the caller had finished"),
    ("transcript", "the transcription"),
    ("first_token", "the language model"),
    ("audio_sent", "the synthesis of speech"),
    ("audio_heard", "the way to the caller"),
)

FRAME_SECONDS: Final = 0.02


def complaints(call: Mapping[str, Any], turns: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Say what was bad about a call, a sentence each.

    Args:
        call: its columns.
        turns: the columns of its turns.

    """
    values = {**call, "lost": (call["frames_lost"] or 0) * FRAME_SECONDS}
    found = [
        _TEXTS[column].format(**values)
        for column, limit in LIMITS.items()
        if (call[column] or 0) > limit
    ]
    if call["cause"] in _ENDS:
        found.append(_ENDS[call["cause"]].format(**values))
    if (call["slowest_answer"] or 0) > LIMITS["slowest_answer"] and (slow := slow_stage(turns)):
        found.append(slow)
    errors = dict.fromkeys(turn["error"] for turn in turns if turn["error"])
    return found + [f"a turn failed: {error}" for error in list(errors)[:3]]


def slow_stage(turns: Sequence[Mapping[str, Any]]) -> str | None:
    """Say which stage took longest in the slowest turn; None if no turn was heard."""
    answers = [turn for turn in turns if turn["number"] and turn["audio_heard"] is not None]
    if not answers:
        return None
    slowest = max(answers, key=lambda turn: turn["audio_heard"])
    times = [("", 0.0)] + [
        (text, slowest[stage]) for stage, text in _STAGES if slowest[stage] is not None
    ]
    seconds, text = max((end - begin, text) for (_, begin), (text, end) in pairwise(times))
    return f"in turn {slowest['number']}, {text} took {seconds:.2f} s of it"
