"""The phones of the playback benchmark: what they do, and the results from their reports."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec

from mediaserver.sandbox import CallReport, Phone


Caller = Callable[[Phone], Awaitable[None]]

BLOCK_SECONDS = 0.4
BLOCK_INTERVAL = 10.0


class Blocks:
    """Stops reading sockets for 0.4 s in every 10 s, each phone at different times.

    Args:
        seed: seed of those times.
        call_seconds: duration of a call; a call shorter than 10 s is blocked once.

    Attributes:
        seconds: how long each block was; a busy machine makes it longer than requested.

    """

    def __init__(self, seed: int, call_seconds: float) -> None:
        self.seconds: list[float] = []
        self._random = Random(seed)
        self._interval = min(BLOCK_INTERVAL, call_seconds)

    async def caller(self, phone: Phone) -> None:
        """Block this phone's socket again and again."""
        loop = asyncio.get_running_loop()
        transport = phone.websocket.transport
        await asyncio.sleep(self._random.uniform(0.1, self._interval - BLOCK_SECONDS))
        while True:
            began = loop.time()
            transport.pause_reading()
            await asyncio.sleep(BLOCK_SECONDS)
            transport.resume_reading()
            self.seconds.append(loop.time() - began)
            await asyncio.sleep(self._interval - BLOCK_SECONDS)


class RoundTrips:
    """Presses keys into an agent's speech, and measures the sockets beside it.

    Attributes:
        seconds: durations of pings on the calls' own connections, until the phone's task ran again;
            a command from the server takes the same path.

    """

    def __init__(self, seed: int) -> None:
        self.seconds: list[float] = []
        self._random = Random(seed)

    async def caller(self, phone: Phone) -> None:
        """Interrupt one to two seconds after the agent began to speak, again and again."""
        while True:
            await phone.wait_for_audio()
            await asyncio.sleep(self._random.uniform(0.5, 1.0))
            await self._ping(phone)
            await asyncio.sleep(self._random.uniform(0.5, 1.0))
            phone.press("5")
            await phone.wait_for_silence(0.3)

    async def _ping(self, phone: Phone) -> None:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        await (await phone.websocket.ping())
        self.seconds.append(loop.time() - sent)


def clear_delays(report: CallReport) -> list[float]:
    """Return for each key how long after it a clear that dropped audio came."""
    clears = [each.time for each in report.timeline if each.kind == "cleared"]
    delays = []
    for key in report.keys_pressed:
        clear = next((time for time in clears if time >= key.time), None)
        # without one, the call was over first
        if clear is not None:
            delays.append(clear - key.time)
    return delays


class Account(msgspec.Struct, frozen=True):
    """One utterance: how much the caller heard, by the server's account and in fact.

    Attributes:
        claimed: seconds heard, by `Playback.heard()`.
        played: seconds that the phone played.
        outcome: `interrupted`, `confirmed` or `estimated`, by `Playback.heard()`.
        cut: whether a clear came during it.
        told_after: seconds from the end of the sound to the server's report.

    """

    claimed: float
    played: float
    outcome: str
    cut: bool
    told_after: float

    @property
    def error(self) -> float:
        """By how many seconds the claim exceeds what was played."""
        return self.claimed - self.played


def cut_in_sometimes(seed: int) -> Caller:
    """Press a key at some point in three of five utterances."""
    random = Random(seed)

    async def caller(phone: Phone) -> None:
        while True:
            await phone.wait_for_audio()
            if random.random() < 0.6:
                await asyncio.sleep(random.uniform(0.1, 2.5))
                phone.press("5")
            await phone.wait_for_silence(0.25)

    return caller


def accounts(report: CallReport) -> list[Account]:
    """Match the agent's accounts, its checkpoints' names, with what the phone played before."""
    clears = [each.time for each in report.timeline if each.kind == "cleared"]
    found = []
    since = 0.0
    for checkpoint in report.checkpoints:
        kind, _, text = checkpoint.name.partition(":")
        if kind != "heard":
            continue
        until = checkpoint.requested
        claimed, _, outcome = text.partition(":")
        spells = [spell for spell in report.agent_speech if since <= spell[0] < until]
        since = until
        if not spells:
            # it was cut off before any of it was heard
            continue
        played = sum(end - start for start, end in spells)
        gaps = sum(
            gap.seconds
            for gap in report.gaps
            if any(start < gap.start < end for start, end in spells)
        )
        found.append(
            Account(
                claimed=float(claimed),
                played=played - gaps,
                outcome=outcome,
                cut=any(spells[0][0] <= clear <= until for clear in clears),
                told_after=until - spells[-1][1],
            )
        )
    return found
