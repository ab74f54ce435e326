import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import espeakng_loader
import numpy as np
import pytest

from audiocodecs import Wav
from mediaserver import espeak
from mediaserver.espeak import SpeechError, speak, speak_marked


SENTENCE = "The quick brown fox jumps over the lazy dog."


def loudness(wav: Wav) -> Any:
    """Return the root mean square of every 20 ms."""
    length = wav.rate // 50
    pieces = wav.samples[: len(wav.samples) // length * length].reshape(-1, length)
    return np.sqrt(np.mean(np.square(pieces, dtype=float), axis=1))


def pitch(wav: Wav) -> np.float64:
    """Return the fundamental frequency in Hz, the median over all loud 40 ms."""
    length = wav.rate // 25
    low, high = wav.rate // 400, wav.rate // 60
    found = []
    levels = loudness(wav)
    for index in np.flatnonzero(levels > levels.max() / 2):
        piece = wav.samples[index * (wav.rate // 50) :][:length].astype(float)
        same = np.correlate(piece, piece, "full")[len(piece) - 1 :]
        found.append(wav.rate / (low + int(np.argmax(same[low:high]))))
    return np.median(found)


def test_speech_is_int16_mono_of_a_rate_the_codecs_know() -> None:
    wav = speak(SENTENCE)
    assert (wav.rate, wav.samples.dtype, wav.samples.ndim) == (22_050, np.int16, 1)


def test_a_sentence_takes_as_long_as_it_does() -> None:
    assert 2.0 < speak(SENTENCE).seconds < 4.0


def test_speech_is_loud_and_quiet_by_turns() -> None:
    levels = loudness(speak(SENTENCE))
    assert levels.max() > 3000
    assert np.mean(levels < levels.max() / 10) > 0.1


def test_speech_survives_a_telephone() -> None:
    wav = speak(SENTENCE)
    power = np.abs(np.fft.rfft(wav.samples)) ** 2
    frequencies = np.fft.rfftfreq(len(wav.samples), 1 / wav.rate)
    band = power[(frequencies > 200) & (frequencies < 3400)].sum()
    assert band > 0.5 * power[frequencies > 50].sum()


def test_voices_differ_in_pitch() -> None:
    caller, agent = (pitch(speak(SENTENCE, voice)) for voice in ("en-gb-x-rp", "en-us+f3"))
    assert 60 < 1.2 * caller < agent < 400


def test_a_higher_pitch_is_higher() -> None:
    assert pitch(speak(SENTENCE, pitch=20)) < 0.9 * pitch(speak(SENTENCE, pitch=80))


def test_more_words_a_minute_take_less_time() -> None:
    assert speak(SENTENCE, words_per_minute=250).seconds < 0.8 * speak(SENTENCE).seconds


def test_nothing_to_say_is_next_to_nothing_to_hear() -> None:
    assert speak("").seconds < 0.1


def test_longer_text_is_said_whole() -> None:
    assert speak(" ".join([SENTENCE] * 20)).seconds > 18 * speak(SENTENCE).seconds


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ("en-uk", "there is no voice 'en-uk'; did you mean .*en-us"),
        ("en-us+f9", r"there is no variant 'f9'; did you mean .*f\d"),
        ("", "there is no voice ''$"),
        ("../en-us", "there is no voice '../en-us'"),
    ],
)
def test_a_voice_that_there_is_none_of_is_refused(voice: str, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        speak(SENTENCE, voice)


@pytest.mark.parametrize("options", [{"words_per_minute": 79}, {"pitch": 101}, {"pitch": -1}])
def test_speed_and_pitch_have_limits(options: Any) -> None:
    with pytest.raises(ValueError, match=f"must be .* not {next(iter(options.values()))}"):
        speak(SENTENCE, **options)


def test_text_with_a_nul_is_refused() -> None:
    with pytest.raises(SpeechError, match="NUL"):
        speak("one\0two")


def test_a_library_that_cannot_be_loaded_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = SimpleNamespace(
        get_data_path=lambda: str(tmp_path), get_library_path=lambda: str(tmp_path / "none.so")
    )
    monkeypatch.setattr(espeak, "espeakng_loader", elsewhere)
    with pytest.raises(SpeechError, match=r"cannot be loaded: .*none\.so"):
        espeak._Espeak()


def test_a_long_path_to_the_voices_is_shortened(tmp_path: Path) -> None:
    far = tmp_path.joinpath(*["a folder with a rather long name"] * 6)
    far.mkdir(parents=True)
    data = far / "espeak-ng-data"
    data.symlink_to(espeakng_loader.get_data_path())
    script = (
        "import sys, espeakng_loader\n"
        "espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
        "from mediaserver.espeak import speak\n"
        "print(speak('The quick brown fox jumps over the lazy dog.').seconds)\n"
    )
    # The library looks for its voices once in a process.
    speaking = subprocess.run(
        [sys.executable, "-c", script, data],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(speaking.stdout) > 2.0
    assert list(tmp_path.glob("espeak-*")) == []


def spoken_words(text: str, **options: Any) -> list[str]:
    return [text[word.start : word.end] for word in speak_marked(text, **options).words]


def test_words_are_found_in_the_text() -> None:
    assert spoken_words("Hello there, Dr. Smith!") == ["Hello", "there", "Dr", "Smith"]


def test_words_are_found_in_characters_not_bytes() -> None:
    assert spoken_words("Grüße, “naïve” café — done") == ["Grüße", "naïve", "café", "done"]


def test_a_number_is_marked_once() -> None:
    words = spoken_words("It is 4711 today.")
    assert words[2:] == ["4711", "today"]


def test_words_begin_one_after_the_other_within_the_audio() -> None:
    speech = speak_marked(SENTENCE)
    times = [word.seconds for word in speech.words]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert times[-1] < speech.wav.seconds


def test_a_word_begins_after_the_pause_before_it() -> None:
    speech = speak_marked("Yes. No.")
    levels = loudness(speech.wav)
    begins = round(speech.words[1].seconds * 50)
    assert levels[begins - 8 : begins - 1].max() < levels.max() / 20
    assert levels[begins : begins + 5].max() > levels.max() / 5


def test_words_of_one_text_are_not_those_of_another() -> None:
    assert speak_marked("").words == ()
    assert len(speak_marked("one").words) == 1
