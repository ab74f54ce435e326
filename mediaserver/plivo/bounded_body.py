"""Reads the body of a response that may be hostile: never more than was agreed, however encoded.

Requests ask for bodies as they are (`IDENTITY`). A body that is compressed nonetheless is expanded
only up to its limit; httpx would expand each piece of it as a whole, a thousandfold.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import httpx


IDENTITY: Final = {"accept-encoding": "identity"}
"""Headers of a request for a body as it is."""


class BodyRefusedError(Exception):
    """A body that is not read: it has an encoding that nobody asked for, or a damaged one."""


class BodyTooLongError(BodyRefusedError):
    """A body that is longer than agreed."""


async def read_body(response: httpx.Response, most: int) -> bytes:
    """Return the body of a streamed response, of at most `most` bytes.

    Raises:
        BodyRefusedError: It is encoded as something else than gzip, or damaged.
        BodyTooLongError: It is longer, on the wire or once expanded.

    """
    # Without the header, httpx hands the bytes on as they came.
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    expand = _expander(encoding)
    body = bytearray()
    async for received in response.aiter_bytes():
        body += expand(received, most + 1 - len(body))
        if len(body) > most:
            raise BodyTooLongError(f"the body is longer than {most} bytes")
    return bytes(body)


def _expander(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return what expands one piece after the other, each to at most the given length."""
    if encoding in ("", "identity"):
        return lambda received, _: received
    if encoding not in ("gzip", "x-gzip"):
        raise BodyRefusedError(f"the body is encoded as {encoding:.40}, which nobody asked for")
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def expand(received: bytes, most: int) -> bytes:
        try:
            return decompressor.decompress(received, most)
        except zlib.error as error:
            raise BodyRefusedError(f"the body is not gzip, as it says: {error}") from None

    return expand
