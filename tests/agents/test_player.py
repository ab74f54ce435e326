import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from audiocodecs import MULAW_8K, Samples, Wav, write_wav
from mediaserver.agents.player import Player
from mediaserver.agents.prompts import spoken
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport, Phone
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.services import TimedSpeech
from mediaserver.testing.voice import ToneVoice


def tone(seconds: float, hertz: int = 440, rate: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def clip(seconds: float) -> Wav:
    return Wav(tone(seconds), 8000)


def called(test: Callable[..., Any], clips: Any, **settings: Any) -> CallReport:
    async def main() -> CallReport:
        routes = Routes(Route(Player, settings={"clips": clips, **settings}))
        async with joined(routes) as line:
            await test(line.phone)
        return line.phone.report()

    return run_virtual(main())


async def until_closed(phone: Phone) -> None:
    await phone.wait_closed()


def pressed(key: str, at: float, until: float | None = None) -> Callable[..., Any]:
    async def press(phone: Phone) -> None:
        await phone.wait_until(at)
        phone.press(key)
        if until is None:
            await phone.wait_closed()
        else:
            await phone.wait_until(until)

    return press


def test_it_plays_a_file_to_its_end_and_hangs_up(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(12.3, rate=44100), 44100)
    report = called(until_closed, tmp_path / "a.wav")
    assert report.audio_played == pytest.approx(12.3, abs=0.05)
    assert report.gaps == []
    assert report.ended_by == "server"
    assert report.duration == pytest.approx(12.3, abs=0.2)


def test_a_long_file_is_not_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    write_wav(tmp_path / "a.wav", tone(60.0), 8000)

    async def test(phone: Phone) -> None:
        await phone.wait_until(5.0)
        assert 5 < sum(map(len, read)) / 8000 <= 9

    class Counted(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
        def read(self, *arguments: Any, **settings: Any) -> Any:
            read.append(super().read(*arguments, **settings))
            return read[-1]

    monkeypatch.setattr("audiocodecs.wav.soundfile.SoundFile", Counted)
    called(test, str(tmp_path / "a.wav"))


def test_a_long_clip_is_queued_bit_by_bit() -> None:
    async def main() -> None:
        routes = Routes(Route(Player, settings={"clips": clip(60.0)}))
        async with joined(routes) as line:
            await line.phone.wait_until(5.0)
            assert line.stream.unheard < 5

    run_virtual(main())


def test_a_file_is_closed_when_a_key_skips_it_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file must not be closed by one thread while another reads it."""
    write_wav(tmp_path / "a.wav", tone(5.0), 8000)
    overlaps = []

    class Slow(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
        reading = False

        def read(self, *arguments: Any, **settings: Any) -> Any:
            self.reading = True
            begun.set()
            go_on.wait(5)
            samples = super().read(*arguments, **settings)
            self.reading = False
            return samples

        def close(self) -> None:
            overlaps.append(self.reading)
            super().close()

    monkeypatch.setattr("audiocodecs.wav.soundfile.SoundFile", Slow)
    begun, go_on = threading.Event(), threading.Event()

    async def main() -> None:
        pieces: Any = spoken(tmp_path / "a.wav", MULAW_8K)
        reading = asyncio.ensure_future(anext(pieces))
        await asyncio.to_thread(begun.wait, 5)
        reading.cancel()
        await asyncio.wait([reading])
        await pieces.aclose()
        go_on.set()

    asyncio.run(main())
    assert overlaps
    assert not any(overlaps)


def test_it_plays_several_clips_in_their_order(tmp_path: Path) -> None:
    stereo = Wav(np.stack([tone(0.5), tone(0.5)], 1), 8000)
    report = called(until_closed, [clip(1.0), stereo])
    assert report.audio_played == pytest.approx(1.5, abs=0.05)


def test_it_begins_again_at_the_end() -> None:
    async def test(phone: Phone) -> None:
        await phone.wait_until(5.0)

    report = called(test, clip(0.5), loop=True)
    assert report.audio_played == pytest.approx(5.0, abs=0.1)
    assert report.gaps == []


def test_keys_are_ignored_unless_they_are_to_do_something() -> None:
    report = called(pressed("1", 0.5), clip(2.0))
    assert report.audio_played == pytest.approx(2.0, abs=0.05)


def test_a_key_stops_it() -> None:
    report = called(pressed("1", 0.5), [clip(2.0), clip(2.0)], loop=True, keys="stop")
    assert report.audio_played == pytest.approx(0.5, abs=0.05)
    assert report.ended_by == "server"


def test_a_key_skips_a_clip() -> None:
    report = called(pressed("1", 0.5), [clip(2.0), clip(1.0)], keys="skip")
    assert report.audio_played == pytest.approx(1.5, abs=0.06)


def test_it_can_stay_on_the_line() -> None:
    report = called(pressed("1", 1.0, until=4.0), clip(0.5), then="stay")
    assert report.ended_by == "caller"


def test_it_can_leave_the_call_to_the_xml() -> None:
    async def main() -> CallReport:
        routes = Routes(Route(Player, settings={"clips": clip(0.5), "then": "close"}))
        async with joined(routes) as line:
            await line.phone.wait_closed()
        return line.phone.report()

    assert run_virtual(main()).close_code == 1000


def test_a_caller_who_hangs_up_is_no_trouble() -> None:
    async def test(phone: Phone) -> None:
        await asyncio.sleep(0.3)

    assert called(test, clip(3.0)).ended_by == "caller"


@pytest.mark.parametrize(
    ("clips", "settings", "said"),
    [
        ([], {}, "no clip"),
        ("hello", {}, "is text and needs a text_to_speech"),
        ("", {}, "must say something"),
        (Wav(np.zeros(0, np.int16), 8000), {}, "no audio"),
        (Wav(tone(0.1), 4000), {}, "at 4000 Hz; allowed: 8000 to 192000"),
        (Wav(tone(0.1), 8000.0), {}, "at 8000.0 Hz; allowed: 8000 to 192000"),  # type: ignore[arg-type]
        (Wav(np.zeros(8), 8000), {}, "an int16 array .*, not float64"),  # type: ignore[arg-type]
        (Wav(None, 8000), {}, "an int16 array .*, not NoneType"),  # type: ignore[arg-type]
        (Wav(tone(0.1), 8000), {"keys": "jump"}, "keys must be one of"),
        (Wav(tone(0.1), 8000), {"then": "sing"}, "then must be one of"),
    ],
)
def test_what_cannot_be_played_is_refused(clips: Any, settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Player(clips, **settings)


@pytest.mark.parametrize("kind", [TimedSpeech, ToneVoice])
def test_text_is_spoken(kind: Any) -> None:
    service = kind()
    report = called(until_closed, "we are closed", text_to_speech=service)
    assert report.audio_played == pytest.approx(0.9, abs=0.1)
    assert service.open == 0


def test_a_file_that_cannot_be_played_is_told_before_anything_is(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    with pytest.raises(ValueError, match="cannot play"):
        called(until_closed, [clip(1.0), tmp_path / "broken.wav"])


def test_a_file_without_audio_is_told(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(0.0), 8000)
    with pytest.raises(ValueError, match="no audio"):
        called(until_closed, tmp_path / "a.wav", loop=True)


def test_a_file_that_has_become_empty_is_not_looped_for_ever(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(1.0), 8000)

    async def test(phone: Phone) -> None:
        await phone.wait_until(0.5)
        write_wav(tmp_path / "a.wav", tone(0.0), 8000)
        await phone.wait_closed()

    with pytest.raises(ValueError, match="no audio"):
        called(test, tmp_path / "a.wav", loop=True)


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(TypeError, match="not 7"):
        Player(cast(Any, 7))
