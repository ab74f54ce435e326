"""Following one live call: what is received, sent and decided, as it happens."""

from __future__ import annotations

from typing import Final, Protocol


STREAM_ENDED: Final = "stream ended"
"""What is decided last."""

CONNECTION_LOST: Final = "connection lost"
"""What is found out when the carrier may open the stream again; the event `Reconnected` follows if
it does."""


class CallFollower(Protocol):
    """Is told what happens in a call while somebody follows it.

    The methods are called while messages are received and sent: they must not raise, and must be
    quick.
    """

    def received(self, message: str | bytes | bytearray) -> None:
        """Take a message of the carrier's, before it is acted on."""

    def sent(self, message: bytes) -> None:
        """Take a message to the carrier, as it is given to the socket."""

    def decided(self, what: str, /, **details: object) -> None:
        """Take something that the server or the handler decided or found out.

        Args:
            what: what it is, in a few words.
            details: more about it. What was said is ``words``.

        """
