"""How fast the event loop and the core are."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from statistics import median
from typing import Final

from mediaserver.doctor.findings import Finding, failed, passed
from mediaserver.doctor.subject import Subject
from mediaserver.protocol import PlayAudioEncoder, decode_event


_TICK: Final = 0.02
"""Seconds of audio in a frame, and between two turns of a call."""
_TICKS: Final = 25
_FRAMES: Final = 500
_LONGEST: Final = 65_536
_LATE: Final = 0.010
"""Seconds by which half of all timers should never be late: half a frame."""
_SHARE: Final = 0.5
"""Share of a core that reading and writing the audio of all calls may take; handlers need some."""


async def loop_speed(subject: Subject) -> Finding:
    """Measure how late timers are, and what a frame costs."""
    loop = asyncio.get_running_loop()
    lags = []
    for _ in range(_TICKS):
        due = loop.time() + _TICK
        await asyncio.sleep(_TICK)
        lags.append(max(0.0, loop.time() - due))
    return judge_speed(subject, median(lags), await _seconds_of_a_frame(subject))


def judge_speed(subject: Subject, lag: float, frame: float) -> Finding:
    """Judge a machine.

    Args:
        subject: The server.
        lag: Seconds by which half of all timers are late.
        frame: Seconds of CPU for 20 ms of audio, from socket to socket.

    """
    calls = subject.calls_per_process
    share = calls * frame / _TICK
    seen = (
        f"timers are {lag * 1e3:.1f} ms late; a frame takes {frame * 1e6:.0f} µs from socket to"
        f" socket, so that {calls} calls in a process use {share:.0%} of a core without what"
        " handlers do"
    )
    if lag > _LATE:
        return failed(
            seen,
            "other programs hold the cores: stop them, or give this one cores of its own"
            " (CPUQuota= or a limit of the container may be too small)",
        )
    if share > _SHARE:
        return failed(seen, "lower max_calls, raise workers, or use a faster machine")
    return passed(seen)


async def _seconds_of_a_frame(subject: Subject) -> float:
    """Measure 20 ms of audio on the way from a socket to a socket.

    The other end costs as much, and is not counted.
    """
    sound = subject.settings.default_format
    payload = bytes(sound.silence) * (round(sound.bytes_per_second * _TICK) // sound.sample_bytes)
    text = base64.b64encode(payload).decode()
    message = (
        '{"event":"media","sequenceNumber":1,"streamId":"s","media":{"track":"inbound",'
        f'"timestamp":"20","chunk":1,"payload":"{text}"}}}}'
    ).encode()
    encode = PlayAudioEncoder(sound)
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        began = time.process_time()
        for _ in range(_FRAMES):
            await loop.sock_sendall(far, message)
            decode_event(await loop.sock_recv(near, _LONGEST))
            await loop.sock_sendall(near, encode(payload))
            await loop.sock_recv(far, _LONGEST)
        return (time.process_time() - began) / (2 * _FRAMES)
