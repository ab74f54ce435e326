"""What the caller misses, or hears twice, when a stream is cut and taken up again.

    python -m benchmarks.reconnect --quick

In virtual time: every cut is the same in each run, and takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import numpy as np

from audiocodecs import MULAW_8K, Samples
from mediaserver import Handler, Reconnected
from mediaserver.sandbox import Misbehaviour
from mediaserver.settings import Settings
from mediaserver.testing import joined, run_virtual


LIMIT = 0.040
"""Seconds that may be missing or repeated."""

SILENCE_STEP = 0.5
"""Seconds between two looks for silent connections: of a half-open one, it is not known more
precisely when it was lost, and so much more may be repeated."""

_FRAME = 160


Assumption: TypeAlias = Literal["auto", "dropped", "kept"]
"""The setting ``reconnect_playback``."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What was heard of one call whose stream was cut."""

    missing: float
    """Seconds of the agent's audio that the caller never heard."""
    repeated: float
    """Seconds of it that the caller heard twice."""
    reconnected: bool
    """Whether the handler went on, and was told."""
    may_repeat: float = LIMIT
    """Seconds that may be heard twice."""

    @property
    def ok(self) -> bool:
        """Whether the handler went on, and no more is missing or repeated than may be."""
        return self.reconnected and self.missing <= LIMIT and self.repeated <= self.may_repeat


def chirp(seconds: float) -> Samples:
    """Return audio of which no 20 ms are like any other."""
    hertz = 300 + 200 * np.arange(round(seconds * 8000)) / 8000
    wave = (8000 * np.sin(2 * np.pi * np.cumsum(hertz) / 8000)).astype(np.int16)
    return MULAW_8K.decode(MULAW_8K.encode(wave))


def compare(said: Samples, heard: Samples) -> tuple[float, float]:
    """Return the seconds that are missing in what was heard, and those that are repeated."""
    text, missing, repeated, expected = said.tobytes(), 0, 0, 0
    for start in range(0, len(heard) - _FRAME + 1, _FRAME):
        frame = heard[start : start + _FRAME]
        found = text.find(frame.tobytes()) // 2
        if found < 0 or not frame.any():
            continue  # silence, or a frame that is not full
        missing += max(0, found - expected)
        repeated += max(0, expected - found)
        expected = found + _FRAME
    missing += max(0, len(said) - expected - _FRAME)
    return missing / 8000, repeated / 8000


async def cut(
    gap: float,
    *,
    keeps: bool,
    at: float = 3.0,
    assumes: Assumption = "auto",
    half_open: bool = False,
) -> Cut:
    """Cut a call in which the agent speaks, and take it up again.

    Args:
        gap: seconds after which the stream is opened again.
        keeps: whether the carrier plays on what it holds, or drops it.
        at: when it is cut, in seconds of the stream.
        assumes: the setting ``reconnect_playback``.
        half_open: whether the old connection stays open and silent, so that nobody tells the
            server.

    """
    said = chirp(8.0)
    told: list[Reconnected] = []

    class Speaking(Handler):
        async def on_start(self) -> None:
            await self.stream.play(said, rate=8000)

        async def on_reconnect(self, reconnected: Reconnected) -> None:
            told.append(reconnected)

    wrong = [f"drop@{at}", f"reopen:{gap}s", *(["keep-playing"] if keeps else [])]
    wrong += ["half-open", "new-stream-id"] if half_open else []
    settings = Settings.model_construct(reconnect_playback=assumes)
    async with joined(Speaking, misbehaviour=Misbehaviour.parse(*wrong), settings=settings) as line:
        await line.phone.wait_until(at + gap + 8.0)
        missing, repeated = compare(said, line.phone.recording()[:, 1])
    may_repeat = LIMIT + (SILENCE_STEP if half_open else 0.0)
    return Cut(missing, repeated, reconnected=len(told) == 1, may_repeat=may_repeat)


def main() -> int:
    """Print a line for each kind of cut, and return 1 if one of them is heard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="cut each call at one place only")
    places = [2.37] if parser.parse_args().quick else [1.0, 2.37, 3.0, 3.013, 4.5]
    print("connection  carrier's buffer  taken up after  setting  missing  repeated  handler")
    failed = False
    for keeps, (gap, half_open) in product(
        (False, True), ((0.2, False), (3.0, False), (3.0, True))
    ):
        # What a carrier did that has long fallen silent cannot be found out.
        assumes: Assumption = "kept" if keeps and gap > 0.6 else "auto"
        cuts = [
            run_virtual(cut(gap, keeps=keeps, at=at, assumes=assumes, half_open=half_open))
            for at in places
        ]
        failed = failed or not all(each.ok for each in cuts)
        missing = max(each.missing for each in cuts) * 1000
        repeated = max(each.repeated for each in cuts) * 1000
        went_on = "goes on" if all(each.reconnected for each in cuts) else "ENDED"
        lost = "half-open" if half_open else "torn down"
        kind = "played on" if keeps else "dropped"
        figures = f"{missing:>4.0f} ms  {repeated:>5.0f} ms"
        print(f"{lost:<10}  {kind:<16}  {gap:>12.1f} s  {assumes:<7}  {figures}  {went_on}")
    print(
        f"goal: at most {LIMIT * 1000:.0f} ms, and up to {(LIMIT + SILENCE_STEP) * 1000:.0f} ms "
        f"repeated of a half-open one: {'missed' if failed else 'reached'}"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
