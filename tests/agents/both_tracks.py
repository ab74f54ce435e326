"""Calls whose stream has both tracks: the caller at 400 Hz, and another party at 1,000 Hz."""

from typing import Any

import numpy as np

from audiocodecs import MULAW_8K, Samples
from mediaserver.handler import Handler, StreamHandler
from mediaserver.routes import Routes
from mediaserver.sandbox import CallReport
from mediaserver.testing import joined, run_virtual


def tone(seconds: float, hertz: int) -> Samples:
    """Return a tone at 8 kHz."""
    times = np.arange(round(seconds * 8000)) / 8000
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def hertz_of(samples: Samples) -> int:
    """Return the strongest frequency, to 10 Hz; 0 for silence."""
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    loudest = int(spectrum.argmax())
    return round(loudest * 8000 / len(samples) / 10) * 10 if spectrum[loudest] > 1000 else 0


def call_with_both_tracks(
    handler: StreamHandler | type[Handler] | Routes,
    *,
    caller: tuple[float, float],
    other: tuple[float, float],
    until: float,
) -> CallReport:
    """Call `handler`; each party speaks from a time to another, in seconds."""

    async def main() -> CallReport:
        said: Any = np.concatenate([tone(caller[0], 0), tone(caller[1] - caller[0], 400)])
        tracks: dict[str, Any] = {"tracks": ("inbound", "outbound"), "bidirectional": False}
        async with joined(handler, audio=said, **tracks) as line:
            # The phone sends this as the outbound track, a frame at a time.
            state = vars(line.phone)
            silence = state["_silence"]
            await line.phone.wait_until(other[0])
            state["_silence"] = MULAW_8K.encode(tone(0.02, 1000))
            await line.phone.wait_until(other[1])
            state["_silence"] = silence
            await line.phone.wait_until(until)
            return line.phone.report()

    return run_virtual(main())
