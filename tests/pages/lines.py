"""Lines of traces, as a server writes them."""

import base64
from typing import Any

import numpy as np

from audiocodecs import MULAW_8K


def line(at: float, what: str, **details: Any) -> dict[str, Any]:
    return {"at": at, "what": what, **details}


def payload(seconds: float = 0.02, hertz: float = 300.0, loudness: float = 0.5) -> str:
    """Return a tone in µ-law, in base64."""
    times = np.arange(round(seconds * 8000)) / 8000
    samples = loudness * 32767 * np.sin(2 * np.pi * hertz * times)
    return base64.b64encode(MULAW_8K.encode(samples.astype(np.int16))).decode()


START = line(0.0, "received", event="Start", call="c1", stream="s1", format=str(MULAW_8K))


EPOCH = 1_767_225_600_000
"""Milliseconds since 1970: where the times of a carrier begin."""


def conversation() -> list[dict[str, Any]]:
    """Return a call: greeting, a turn with a tool, and a reply that is interrupted."""
    lines = [
        START,
        line(0.1, "reply begins", turn=0),
        line(0.1, "says", words="Hello, how can I help?"),
        line(0.2, "spoken", words="Hello, how can I help?", heard_in=0.8),
        line(
            1.2,
            "turn",
            number=0,
            audio_sent=0.1,
            audio_heard=0.12,
            interrupted=False,
            error=None,
            words=["", "Hello, how can I help?"],
        ),
        line(1.9, "vad", probability=0.9),
        line(2.0, "caller speaks", over_agent=False),
        line(2.4, "hears", words="do you have"),
        line(3.0, "vad", probability=0.05),
        line(3.2, "understood", dropped=False, words="Do you have tea?"),
        line(3.3, "reply begins", turn=1),
        line(3.4, "tool begins", tool="in_stock", words='{"item": "tea"}'),
        line(3.6, "tool ends", tool="in_stock", error=False, words="12"),
        line(3.8, "says", words="Yes, we have twelve kinds of tea."),
        line(3.9, "spoken", words="Yes, we have twelve", heard_in=0.6),
        line(4.0, "underrun", times=1, seconds=0.08),
        line(4.3, "received", event="Dtmf", digit="5", bytes=80),
        line(4.5, "caller speaks", over_agent=True),
        line(4.6, "barge-in", confirmed=True),
        line(4.6, "sent", command="ClearAudio", stream_id="s1"),
        line(4.6, "audio cut", heard_at=4.62),
        line(4.6, "reply cancelled", turn=1),
        line(
            4.7,
            "turn",
            number=1,
            end_of_turn=0.3,
            transcript=0.4,
            first_token=0.7,
            audio_sent=0.9,
            audio_heard=0.95,
            interrupted=True,
            error=None,
            words=["Do you have tea?", "Yes, we have twelve"],
        ),
        line(5.4, "understood", dropped=False, words="Never mind."),
        line(6.0, "checkpoint", name="bye", played=True),
    ]
    audio = [
        line(
            round(0.02 * frame, 3),
            "audio received",
            track="inbound",
            timestamp=EPOCH + 20 * frame,
            chunk=frame + 1,
            payload=payload(),
        )
        for frame in range(100, 160)
    ]
    heard = [line(0.2, "audio sent", heard_at=0.2, payload=payload(0.8, 500.0))]
    return sorted([*lines, *audio, *heard], key=lambda each: each["at"])


ENDED = line(6.5, "stream ended", reason="the caller hung up")
