"""The other workers of the machine, as one worker reaches them: over the supervisor."""

from __future__ import annotations

import socket

from mediaserver.server.neighbours import ToldWebhook, kind_and_fields
from mediaserver.server.relocation import HandedConnection
from mediaserver.server.workers.channel import Channel
from mediaserver.server.workers.messages import ClientConnection, Move, Told, UsedNonce
from mediaserver.server.workers.table import WorkerTable


class Crewmates:
    """The `Neighbours` of a worker, and its `Relocation`.

    Args:
        table: What all workers have.
        machine: The machine's part of the workers' names.

    """

    def __init__(self, table: WorkerTable, machine: str) -> None:
        self.channel: Channel | None = None
        """Once there is one."""
        self._table = table
        self._machine = machine

    def tell(self, webhook: ToldWebhook) -> None:
        """Pass a webhook on to all other workers."""
        if self.channel is not None:
            self.channel.send(Told(*kind_and_fields(webhook)))

    def used(self, nonce: str) -> None:
        """Say that a stream was opened with the signature of this nonce."""
        if self.channel is not None:
            self.channel.send(UsedNonce(nonce))

    def released(self, nonce: str) -> None:
        """Say that this signature may open a stream again."""
        if self.channel is not None:
            self.channel.send(UsedNonce(nonce, used=False))

    def reaches(self, process: str) -> bool:
        """Tell whether a worker lives, even if it takes no new calls."""
        machine, _, name = process.rpartition("/")
        return machine == self._machine and self._table.find(name) is not None

    def hand_over(self, process: str, sock: socket.socket, connection: HandedConnection) -> bool:
        """Give a connection to a worker; False if the supervisor takes nothing."""
        moved = ClientConnection(
            listener=0,
            address=connection.client,
            head=connection.head,
            decrypted=connection.secure,
            moved=True,
        )
        if self.channel is None or not self.channel.send(Move(process, moved), sock.fileno()):
            return False
        # The channel closes it.
        sock.detach()
        return True
