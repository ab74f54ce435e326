"""The network between the carrier and a server, with troubles that can be switched in a call.

A stream is a TCP connection: it loses nothing, and keeps the order. So a packet that is lost comes
later, when it has been sent again, and all that follows waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final, Generic, TypeVar


MOST_JITTER: Final = 2.0
"""Seconds."""

MOST_LOSS: Final = 0.5
"""Share of packets."""

LONGEST_STALL: Final = 60.0
"""Seconds."""

RETRANSMITTED_AFTER: Final = 0.2
"""Seconds after which a lost packet is sent again: Linux's least retransmission timeout."""

T = TypeVar("T")


class StreamNetwork:
    """How long messages are on their way, in both directions.

    Args:
        seed: Seed of its random choices.

    Attributes:
        jitter: Each message takes up to this many seconds.
        loss: Share of messages that are lost, and sent again 0.2 s later.

    """

    def __init__(self, *, seed: int = 0) -> None:
        self.jitter = 0.0
        self.loss = 0.0
        self._random = Random(seed)
        self._stalled_until = -math.inf

    def trouble(self, *, jitter: float | None = None, loss: float | None = None) -> None:
        """Change what messages meet from now on; what is left out stays.

        Raises:
            ValueError: A value is out of range; nothing was changed.

        """
        jitter = self.jitter if jitter is None else jitter
        loss = self.loss if loss is None else loss
        if not 0 <= jitter <= MOST_JITTER:
            raise ValueError(f"jitter is 0 to {MOST_JITTER:g} seconds, not {jitter!r}")
        if not 0 <= loss <= MOST_LOSS:
            raise ValueError(f"loss is a share of 0 to {MOST_LOSS:g}, not {loss!r}")
        self.jitter, self.loss = jitter, loss

    def stall(self, seconds: float, now: float) -> None:
        """Let nothing through for `seconds` from `now` on.

        Raises:
            ValueError: It is not above 0 and up to a minute.

        """
        if not 0 < seconds <= LONGEST_STALL:
            raise ValueError(
                f"a stall is above 0 and at most {LONGEST_STALL:g} seconds, not {seconds!r}"
            )
        self._stalled_until = max(self._stalled_until, now + seconds)

    def stalled(self, now: float) -> bool:
        """Return whether nothing gets through."""
        return now < self._stalled_until

    def arrival(self, now: float) -> float:
        """Return when a message arrives that is sent now, if no other is on its way."""
        time = max(now, self._stalled_until)
        if self.jitter:
            time += self._random.uniform(0, self.jitter)
        if self.loss and self._random.random() < self.loss:
            time += RETRANSMITTED_AFTER
        return time


class NetworkPath(Generic[T]):
    """One direction of a network: messages arrive in the order in which they were sent.

    Args:
        network: The network.
        deliver: Called with each message when it arrives, from the event loop.

    """

    def __init__(self, network: StreamNetwork, deliver: Callable[[T], object]) -> None:
        self._network = network
        self._deliver = deliver
        self._messages: deque[T] = deque()
        self._timers: deque[asyncio.TimerHandle] = deque()
        self._last = -math.inf

    def __len__(self) -> int:
        return len(self._messages)

    def send(self, message: T) -> None:
        """Send a message. It is delivered before this returns if nothing delays it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        arrival = max(self._network.arrival(now), self._last)
        if arrival <= now and not self._messages:
            self._deliver(message)
            return
        self._last = arrival
        self._messages.append(message)
        self._timers.append(loop.call_at(arrival, self._arrive))

    def flush(self) -> None:
        """Deliver at once what is on its way."""
        while self._messages:
            self._timers[0].cancel()
            self._arrive()

    def drop(self) -> None:
        """Lose what is on its way."""
        self._messages.clear()
        while self._timers:
            self._timers.popleft().cancel()

    def _arrive(self) -> None:
        # Timers of the same time may fire in any order: each stands for the oldest message.
        self._timers.popleft()
        self._deliver(self._messages.popleft())
