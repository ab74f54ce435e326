from audiocodecs import MULAW_8K
from mediaserver.protocol import MAX_PLAY_BYTES, PlayAudio


def test_the_largest_payload_is_16_kib_of_base64() -> None:
    assert MAX_PLAY_BYTES * 4 / 3 == 16 * 1024


def test_a_play_audio_does_not_print_its_audio() -> None:
    text = repr(PlayAudio(b"secret" * 30, MULAW_8K))
    assert "secret" not in text
    assert "<180 bytes>" in text
    assert "audio/x-mulaw;rate=8000" in text
