"""What a supervisor gives to a process that it starts as a worker."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Final, NoReturn

from mediaserver.server.workers.channel import receive_message, send_message
from mediaserver.server.workers.messages import Orders, StartFailed
from mediaserver.server.workers.table import WorkerTable


CHANNEL_VARIABLE: Final = "_MEDIASERVER_CHANNEL"
"""Has the descriptor of a worker's end of its channel."""


class Duty:
    """What a process that is a worker was given by its supervisor."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        orders, descriptor = receive_message(sock)
        assert isinstance(orders, Orders)
        self.orders = orders
        self.table = WorkerTable(descriptor)
        self.row = self.table.row(orders.row)

    @property
    def name(self) -> str:
        """The worker's name on this machine."""
        return self.orders.process.rpartition("/")[2]

    def refuse(self, reason: str, status: int) -> NoReturn:
        """Tell the supervisor why this process cannot be a worker, and end it."""
        with self.sock:
            send_message(self.sock, StartFailed(reason, status))
        self.table.close()
        raise SystemExit(status)


def duty(environment: MutableMapping[str, str] | None = None) -> Duty | None:
    """Return what the supervisor that has started this process says; None if there is none."""
    environment = os.environ if environment is None else environment
    descriptor = environment.pop(CHANNEL_VARIABLE, None)
    if descriptor is None:
        return None
    os.set_inheritable(int(descriptor), False)
    return Duty(socket.socket(fileno=int(descriptor)))
