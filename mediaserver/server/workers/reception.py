"""Accepts connections while a worker takes them; otherwise they wait in the kernel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from mediaserver.server.process.descriptors import EXHAUSTED, ShortageLog
from mediaserver.server.workers.messages import ClientConnection


_AT_ONCE: Final = 64
"""Connections of one listener that are accepted in one turn of the loop."""


Taker: TypeAlias = Callable[[ClientConnection, int], bool]


class Reception:
    """Accepts the connections of listening sockets, on the running event loop.

    Args:
        sockets: The listening sockets.
        taker: Returns what takes the next connection with its descriptor, and tells whether it was
            taken; None if nobody takes connections now.

    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        taker: Callable[[], Taker | None],
    ) -> None:
        self._sockets = sockets
        self._taker = taker
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._shortage = ShortageLog(self._loop.time)
        self.failures = 0
        """Times that no descriptor was left for a connection."""

    def open(self) -> None:
        """Accept connections if a worker takes them. May be called often."""
        if not self._is_open and self._taker() is not None:
            self._is_open = True
            for index, sock in enumerate(self._sockets):
                sock.setblocking(False)
                self._loop.add_reader(sock.fileno(), self.accept, index)

    def close(self) -> None:
        """Leave connections in the kernel until `open` is called."""
        if self._is_open:
            self._is_open = False
            for sock in self._sockets:
                self._loop.remove_reader(sock.fileno())

    def accept(self, index: int) -> None:
        """Accept what waits at one of the sockets."""
        for _ in range(_AT_ONCE):
            if (take := self._taker()) is None:
                self.close()
                return
            try:
                client, address = self._sockets[index].accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Other errors are those of a connection that is gone already: see accept(2).
                if error.errno in EXHAUSTED:
                    self.failures += 1
                    self._shortage.note(error.strerror, failures=self.failures)
                    self.close()
                    return
                continue
            descriptor = client.detach()
            if not take(ClientConnection(index, address[:2]), descriptor):
                os.close(descriptor)
