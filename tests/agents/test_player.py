import asyncio

import numpy as np
import pytest

from audiocodecs import Wav, write_wav
from mediaserver.agents.player import Player
from mediaserver.handler import Route, Routes
from mediaserver.testing import joined, run_virtual


def tone(seconds, hertz=440, rate=8000):
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def clip(seconds):
    return Wav(tone(seconds), 8000)


def called(test, clips, **settings):
    async def main():
        routes = Routes(Route(Player, settings={"clips": clips, **settings}))
        async with joined(routes) as line:
            await test(line.phone)
        return line.phone.report()

    return run_virtual(main())


async def until_closed(phone):
    await phone.wait_closed()


def pressed(key, at, until=None):
    async def press(phone):
        await phone.wait_until(at)
        phone.press(key)
        if until is None:
            await phone.wait_closed()
        else:
            await phone.wait_until(until)

    return press


def test_it_plays_a_file_to_its_end_and_hangs_up(tmp_path):
    write_wav(tmp_path / "a.wav", tone(12.3, rate=44100), 44100)
    report = called(until_closed, tmp_path / "a.wav")
    assert report.audio_played == pytest.approx(12.3, abs=0.05)
    assert report.gaps == []
    assert report.ended_by == "server"
    assert report.duration == pytest.approx(12.3, abs=0.2)


def test_a_long_file_is_not_read_ahead(tmp_path, monkeypatch):
    read = []
    write_wav(tmp_path / "a.wav", tone(60.0), 8000)

    async def test(phone):
        await phone.wait_until(5.0)
        assert 5 < len(read) <= 9

    monkeypatch.setattr("mediaserver.agents.prompts._read", counted(read))
    called(test, str(tmp_path / "a.wav"))


def counted(read):
    def one_second(file):
        samples = file.read(file.samplerate, dtype="int16")
        read.append(len(samples))
        return samples

    return one_second


def test_it_plays_several_clips_in_their_order(tmp_path):
    stereo = Wav(np.stack([tone(0.5), tone(0.5)], 1), 8000)
    report = called(until_closed, [clip(1.0), stereo])
    assert report.audio_played == pytest.approx(1.5, abs=0.05)


def test_it_begins_again_at_the_end():
    async def test(phone):
        await phone.wait_until(5.0)

    report = called(test, clip(0.5), loop=True)
    assert report.audio_played == pytest.approx(5.0, abs=0.1)
    assert report.gaps == []


def test_keys_are_ignored_unless_they_are_to_do_something():
    report = called(pressed("1", 0.5), clip(2.0))
    assert report.audio_played == pytest.approx(2.0, abs=0.05)


def test_a_key_stops_it():
    report = called(pressed("1", 0.5), [clip(2.0), clip(2.0)], loop=True, keys="stop")
    assert report.audio_played == pytest.approx(0.5, abs=0.05)
    assert report.ended_by == "server"


def test_a_key_skips_a_clip():
    report = called(pressed("1", 0.5), [clip(2.0), clip(1.0)], keys="skip")
    assert report.audio_played == pytest.approx(1.5, abs=0.06)


def test_it_can_stay_on_the_line():
    report = called(pressed("1", 1.0, until=4.0), clip(0.5), then="stay")
    assert report.ended_by == "caller"


def test_it_can_leave_the_call_to_the_xml():
    async def main():
        routes = Routes(Route(Player, settings={"clips": clip(0.5), "then": "close"}))
        async with joined(routes) as line:
            await line.phone.wait_closed()
        return line.phone.report()

    assert run_virtual(main()).close_code == 1000


def test_a_caller_who_hangs_up_is_no_trouble():
    async def test(phone):
        await asyncio.sleep(0.3)

    assert called(test, clip(3.0)).ended_by == "caller"


@pytest.mark.parametrize(
    ("clips", "settings", "said"),
    [
        ([], {}, "no clip"),
        ("missing.wav", {}, "cannot play 'missing.wav'"),
        ("hello", {}, "is text and wants a text_to_speech"),
        ("", {}, "must say something"),
        (Wav(np.zeros(0, np.int16), 8000), {}, "no audio"),
        (Wav(tone(0.1), 11025), {}, "11025 samples a second; allowed: 8000"),
        (Wav(tone(0.1), 8000), {"keys": "jump"}, "keys is one of"),
        (Wav(tone(0.1), 8000), {"then": "sing"}, "then is one of"),
    ],
)
def test_what_cannot_be_played_is_refused(clips, settings, said):
    with pytest.raises(ValueError, match=said):
        Player(clips, **settings)


def test_what_is_no_clip_is_refused():
    with pytest.raises(TypeError, match="not 7"):
        Player(7)
