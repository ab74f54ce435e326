"""Where WebSocket frames end (RFC 6455, section 5.2).

websockets' core takes bytes cut anywhere, at the cost of a generator step for each part of each
frame. In a media stream nearly every read is one whole text frame. If the end of a frame is known,
such frames can be unmasked directly, and only the others go to the core.
"""

from __future__ import annotations


TEXT_FINAL = 0x81
"""First byte of a text message that is one frame."""

MASKED = 0x80
"""Set in the second byte of a masked frame; the other bits are its length, up to 125 bytes."""

MASKED_16 = 0xFE
"""Second byte of a masked frame with a 16-bit length: 126 to 65,535 bytes."""

LONGEST_HEADER = 14
"""Size of a header with a 64-bit length and a mask, in bytes."""


def frame_end(data: bytes, start: int) -> int | None:
    """Return the end of the frame that begins at `start`; it may lie beyond the end of `data`.

    None if the header is incomplete. The mask of a masked frame counts as part of its header;
    unmasked frames are accepted too.
    """
    left = len(data) - start
    if left < 2:
        return None
    second = data[start + 1]
    length = second & 0x7F
    body = start + (6 if second & MASKED else 2)
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
