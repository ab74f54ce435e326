"""The sixteen keys of a telephone keypad."""

from __future__ import annotations

from typing import Final

from mediaserver.protocol.errors import ProtocolError, quote


DIGITS: Final = frozenset("0123456789*#ABCD")


def checked_digits(digits: str) -> str:
    """Return `digits` with `a`-`d` as capitals.

    Raises:
        ProtocolError: `bad_value` for any other character. That includes `w`, which is a pause in
            Plivo's REST calls; for streams Plivo documents no pause.

    """
    capitals = digits.upper() if digits.isascii() else digits
    if DIGITS.issuperset(capitals):
        return capitals
    pause = "; pauses ('w') are not possible on a stream" if "W" in capitals else ""
    raise ProtocolError("bad_value", f"DTMF digits are 0-9, *, #, A-D; got {quote(digits)}{pause}")
