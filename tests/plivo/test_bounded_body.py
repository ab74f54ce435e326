from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.plivo.bounded_body import BodyRefusedError, BodyTooLongError, read_body


async def read(pieces: list[bytes], encoding: str | None = None, most: int = 1000) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    headers = {} if encoding is None else {"content-encoding": encoding}
    return await read_body(httpx.Response(200, headers=headers, content=stream()), most)


@given(st.lists(st.binary(max_size=40), max_size=5), st.sampled_from([None, "identity", "gzip"]))
async def test_a_body_is_read_wherever_it_is_cut(pieces: list[bytes], encoding: str | None) -> None:
    whole = b"".join(pieces)
    if encoding == "gzip":
        packed = gzip.compress(whole)
        pieces = [packed[:7], packed[7:]]
    assert await read(pieces, encoding) == whole


@pytest.mark.parametrize("length", [1000, 1001])
@pytest.mark.parametrize("encoding", [None, "GZip"])
async def test_a_body_has_at_most_the_agreed_length(length: int, encoding: str | None) -> None:
    body = bytes(length) if encoding is None else gzip.compress(bytes(length))
    if length <= 1000:
        assert await read([body], encoding) == bytes(length)
    else:
        with pytest.raises(BodyTooLongError, match="longer than 1000 bytes"):
            await read([body], encoding)


async def test_a_body_is_expanded_no_further_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expanded = []
    make = zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inner = make(bits)

        def decompress(self, received: bytes, most: int) -> bytes:
            expanded.append(self._inner.decompress(received, most))
            return expanded[-1]

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    with pytest.raises(BodyTooLongError):
        await read([gzip.compress(bytes(10_000_000))], "gzip")
    assert sum(map(len, expanded)) == 1001


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate", "zstd", "x" * 100])
async def test_an_encoding_that_nobody_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(BodyRefusedError, match=r"is encoded as .*, which nobody asked for"):
        await read([gzip.compress(gzip.compress(b"x"))], encoding)


async def test_a_damaged_body_is_refused() -> None:
    with pytest.raises(BodyRefusedError, match="is not gzip, as it says"):
        await read([b"<Response/>"], "gzip")
