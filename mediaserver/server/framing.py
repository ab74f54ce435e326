"""Where WebSocket frames end (RFC 6455, section 5.2).

websockets' core takes bytes cut anywhere, and pays for that with a generator step for each piece of
each frame. Nearly all that a media stream brings is one whole text frame a read; knowing where
frames end lets those be unmasked at once and everything else go to the core.
"""

from __future__ import annotations


TEXT_FINAL = 0x81
"""First byte of a text message that is one frame."""

MASKED_16 = 0xFE
"""Second byte of a masked frame whose length takes 16 bits: 126 to 65,535 bytes."""

_MASK = 0x80

LONGEST_HEADER = 14
"""Bytes of a header with a 64-bit length and a mask."""


def frame_end(data: bytes, start: int) -> int | None:
    """Return where the frame that begins at `start` ends, which may be past the end of `data`.

    None means that its header is not complete. The mask is counted as part of the header of a
    masked frame; whether frames must be masked is not looked at.
    """
    left = len(data) - start
    if left < 2:
        return None
    second = data[start + 1]
    length = second & 0x7F
    body = start + (6 if second & _MASK else 2)
    if length == 126:
        if left < 4:
            return None
        length = int.from_bytes(data[start + 2 : start + 4], "big")
        body += 2
    elif length == 127:
        if left < 10:
            return None
        length = int.from_bytes(data[start + 2 : start + 10], "big")
        body += 8
    return body + length
