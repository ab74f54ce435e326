"""Following one live call: what is received, sent and decided, as it happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec


STREAM_ENDED: Final = "stream ended"
"""What is decided last."""

CONNECTION_LOST: Final = "connection lost"
"""What is found out when the carrier may open the stream again; the event `Reconnected` follows if
it does."""


def decision_json(fields: Mapping[str, object]) -> bytes:
    """Return a JSON object with what was decided, whatever an application tells of it.

    It never raises: to follow a call must not harm it.
    """
    try:
        return msgspec.json.encode(fields, enc_hook=str)
    except Exception as error:
        problem = error
    try:
        # JSON has an escape for a lone surrogate, as half a character that a model sends.
        return json.dumps(fields, default=str, skipkeys=True, allow_nan=False).encode()
    except Exception:
        told = {name: value for name, value in fields.items() if type(value) in (int, float)}
        told["what"] = ascii(fields.get("what", "?"))[1:-1]
        return msgspec.json.encode(told | {"problem": type(problem).__name__})


class CallFollower(Protocol):
    """Is told what happens in a call while somebody follows it.

    The methods are called while messages are received and sent: they must not raise, and must be
    quick.
    """

    def received(self, message: str | bytes | bytearray) -> None:
        """Take a message of the carrier's, before it is acted on."""

    def received_binary(self, message: bytes) -> None:
        """Take a binary message of the carrier's, which is refused as malformed."""

    def sent(self, message: bytes) -> None:
        """Take a message to the carrier, as it is given to the socket."""

    def decided(self, what: str, /, **details: object) -> None:
        """Take something that the server or the handler decided or found out.

        Args:
            what: what it is, in a few words.
            details: more about it. What was said is ``words``.

        """
