from audiocodecs import AudioError
from audiocodecs.errors import shown


def test_audio_error_is_a_value_error() -> None:
    assert issubclass(AudioError, ValueError)


def test_short_values_are_shown_whole() -> None:
    assert shown("x" * 58) == repr("x" * 58)


def test_long_values_are_cut() -> None:
    text = shown("x" * 1000)
    assert len(text) == 60
    assert text.endswith("x...")
