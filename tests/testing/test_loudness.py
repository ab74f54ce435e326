import numpy as np

from audiocodecs import MULAW_8K
from mediaserver.testing.loudness import LOUD, LoudnessTurns


def piece(level: int) -> bytes:
    """Return 20 ms of a square wave of this level."""
    return MULAW_8K.encode(np.resize(np.array([level, -level], np.int16), 160))


def changes(turns: LoudnessTurns, *levels: int, silence: float = 0.1) -> list[str | None]:
    return [turns.hear(piece(level), MULAW_8K, silence) for level in levels]


def test_a_turn_begins_with_sound_and_ends_with_silence() -> None:
    turns = LoudnessTurns()
    heard = changes(turns, 0, 4000, 4000, 0, 0, 0, 0, 0, 0)
    assert heard == [None, "started", None, None, None, None, None, "stopped", None]
    assert round(turns.heard, 2) == 0.18


def test_a_pause_shorter_than_the_silence_asked_for_does_not_end_a_turn() -> None:
    assert "stopped" not in changes(LoudnessTurns(), *[4000, 0, 0, 0, 0] * 5, silence=0.1)


def test_quiet_sounds_are_silence() -> None:
    assert changes(LoudnessTurns(), LOUD // 2, LOUD // 2) == [None, None]


def test_no_audio_is_silence() -> None:
    assert LoudnessTurns().hear(b"", MULAW_8K, 0.1) is None
