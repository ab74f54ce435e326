from mediaserver.captures.compression import ZstdCompressor, ZstdDecompressor


def test_a_frame_comes_back() -> None:
    frame = ZstdCompressor(1).compress(b"audio" * 100, ZstdCompressor.FLUSH_FRAME)
    assert len(frame) < 100
    assert ZstdDecompressor().decompress(frame) == b"audio" * 100
