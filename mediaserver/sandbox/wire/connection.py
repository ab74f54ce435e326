"""An open WebSocket as the carrier uses it, with the faults that a misbehaviour asks for."""

from __future__ import annotations

import asyncio
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import broadcast
from websockets.protocol import State

from mediaserver.sandbox.wire.messages import WireMessage
from mediaserver.sandbox.wire.network import NetworkPath, StreamNetwork
from mediaserver.sandbox.wire.session import ConnectionFault


class CarrierConnection:
    """Sends a session's messages, and carries out the misbehaviours of the connection.

    Args:
        websocket: The open WebSocket.
        fragmented: Send each message in three WebSocket fragments.
        before: The connection that this one takes the place of; its socket may still be open.
        network: What messages meet on their way to the server; nothing if left out.

    Attributes:
        websocket: The open WebSocket.
        can_send: Whether the sending side is open. Nothing is sent after it was shut.

    """

    def __init__(
        self,
        websocket: ClientConnection,
        *,
        fragmented: bool = False,
        before: CarrierConnection | None = None,
        network: StreamNetwork | None = None,
    ) -> None:
        self.websocket: Final = websocket
        self.can_send = True
        self._fragmented = fragmented
        self._before = before
        self._network = network
        self._path = None if network is None else NetworkPath[WireMessage](network, self._send)

    @property
    def unsent(self) -> int:
        """Bytes that the operating system has not taken yet; 1 while the network stands still."""
        if self._network is not None and self._network.stalled(asyncio.get_running_loop().time()):
            return 1
        return self.websocket.transport.get_write_buffer_size()

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ConnectionClosed: The connection has been closed or lost.

        """
        return await self.websocket.recv()

    def send(self, message: WireMessage) -> None:
        """Send a message, as late as the network makes it.

        Does nothing once the sending side is shut.
        """
        if self._path is None:
            self._send(message)
        else:
            self._path.send(message)

    def _send(self, message: WireMessage) -> None:
        if not self.can_send:
            return
        if self._fragmented and isinstance(message, str):
            self._send_fragments(message.encode())
        else:
            # The one public call of websockets that writes without a coroutine.
            broadcast((self.websocket,), message)

    def carry_out(self, fault: ConnectionFault) -> bool:
        """Carry out a fault; return whether this connection can have it."""
        transport = self.websocket.transport
        if fault == "stop-reading":
            transport.pause_reading()
            return True
        self.can_send = False
        if fault == "drop":
            transport.abort()
        elif fault == "vanish":
            transport.pause_reading()
            transport.set_protocol(asyncio.Protocol())
            # Only this side takes the connection for lost.
            self.websocket.connection_lost(None)
        elif transport.can_write_eof():
            transport.write_eof()
        else:
            return False
        return True

    async def close(self) -> None:
        """Close by the closing handshake; waits until the socket is closed."""
        if self._path is not None:
            self._path.flush()
        await self.websocket.close()

    def abort(self) -> None:
        """Close the socket at once."""
        if self._path is not None:
            self._path.drop()
        if self._before is not None:
            self._before.abort()
        self.websocket.transport.abort()

    def _send_fragments(self, data: bytes) -> None:
        third = len(data) // 3
        protocol = self.websocket.protocol
        if protocol.state is not State.OPEN:
            return
        protocol.send_text(data[:third], fin=False)
        protocol.send_continuation(data[third : 2 * third], fin=False)
        protocol.send_continuation(data[2 * third :], fin=True)
        self.websocket.send_data()
