import gc

import pytest

from mediaserver.protocol import Media, PlayedStream, Start


def test_a_media_event_does_not_print_its_audio() -> None:
    text = repr(Media(b"secret" * 30, timestamp=20, chunk=1, stream_id="s"))
    assert "secret" not in text
    assert "<180 bytes>" in text
    assert "timestamp=20" in text


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        PlayedStream("greeting").name = "other"  # type: ignore[misc]


def test_media_costs_the_garbage_collector_nothing() -> None:
    assert not gc.is_tracked(Media(b"\xff" * 160))


def test_starts_do_not_share_their_extra_headers() -> None:
    assert Start("c", "s").extra_headers is not Start("c", "s").extra_headers
