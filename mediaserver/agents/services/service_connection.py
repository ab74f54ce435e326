"""A WebSocket on which sending never waits for the service."""

from __future__ import annotations

from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State


_UNREAD_FOR: Final = 5.0
_MOST_UNREAD: Final = 8 * 2**20
"""Bytes: more than the longest turn of a caller that is sent again over a new connection."""
_NO_LIMIT: Final = 2**30


class UnreadError(Exception):
    """The service does not read what is sent to it."""


class ServiceConnection(ClientConnection):
    """A connection whose `send` returns at once.

    What the service does not take yet stays in the transport's buffer, so that no call waits for it
    and nothing has to be done for each message. If the service takes nothing of it for five
    seconds, or if 8 MiB wait, the next `send` gives the connection up: `recv` then raises a
    ``ConnectionClosed`` that was caused by an `UnreadError`.

    Give it as ``create_connection`` to ``websockets.connect``. Messages that are sent after the
    connection was lost are dropped.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "write_limit": _NO_LIMIT})
        self._unread = 0  # after the last message
        self._read_at = 0.0

    async def send(self, message: Any, *, text: bool | None = None) -> None:
        """Send a message, as text or as binary."""
        if self.state is not State.OPEN or self._is_given_up():
            return
        if text is not None or not isinstance(message, bytes | str):
            await super().send(message, text=text)
        else:
            self._send_at_once(message)
        self._unread = self.transport.get_write_buffer_size()

    def _send_at_once(self, message: bytes | str) -> None:
        """Send a whole message without waiting for the service, which takes half of the time."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        try:
            self.send_data()
        except Exception as error:  # the transport is closed, and `recv` raises the loss
            self.set_connection_exc(error)
            self.transport.abort()

    def _is_given_up(self) -> bool:
        if self.connection_exc is not None:
            return True
        unread = self.transport.get_write_buffer_size()
        now = self.loop.time()
        if not unread or unread < self._unread:
            self._read_at = now
        if now - self._read_at <= _UNREAD_FOR and unread <= _MOST_UNREAD:
            return False
        seconds = now - self._read_at
        reason = f"it has taken nothing for {seconds:.1f} s, and {unread} bytes wait to be sent"
        self.set_connection_exc(UnreadError(reason))
        self.transport.abort()
        return True
