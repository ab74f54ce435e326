import asyncio

import numpy as np
import pytest
import soundfile

from audiocodecs import L16_16K, read_wav
from mediaserver.agents.recorder import Recorder, recorded
from mediaserver.handler import Handler, HandlerError, Route, Routes
from mediaserver.sandbox import Misbehaviour
from mediaserver.testing import joined, run_virtual, stall


ALIGNED = 0.04
"""Seconds by which a recording may differ from what the phone itself recorded."""


def tone(seconds, hertz=440, rate=8000):
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def silence(seconds, rate=8000):
    return np.zeros(round(seconds * rate), np.int16)


def speech(samples, rate):
    """Return where there is sound: from, to, in seconds; silences under 50 ms are none."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 100)
    if not len(loud):
        return np.zeros((0, 2))
    breaks = np.flatnonzero(np.diff(loud) > rate * 0.05)
    starts, ends = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]]
    return np.stack([starts, ends], 1) / rate


def call(test, handler, **phone):
    """Return what the phone recorded, after `test` of the line."""

    async def main():
        async with joined(handler, **phone) as line:
            await test(line)
        return line.phone.recording()

    return run_virtual(main())


def until(seconds):
    async def wait(line):
        await line.phone.wait_until(seconds)

    return wait


def same(path, recording, rate=8000):
    """Check that a file has what the phone recorded, both sides in their places."""
    wav = read_wav(path)
    assert wav.rate == rate
    sides = [
        (speech(wav.samples[:, side], rate), speech(recording[:, side], rate)) for side in (0, 1)
    ]
    # The recording begins with the first frame, however late that came, for both sides alike.
    late = next((ours[0, 0] - phones[0, 0] for ours, phones in sides[:1] if len(phones)), 0.0)
    assert abs(late) <= 0.1
    for ours, phones in sides:
        assert len(ours) == len(phones)
        assert np.abs(ours - late - phones).max(initial=0) <= ALIGNED
    return wav


async def listen(stream):
    async for _ in stream.audio():
        pass


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_both_sides_are_recorded_where_they_are_heard(tmp_path, suffix):
    async def agent(stream):
        await asyncio.sleep(1.0)
        await stream.play(tone(3.0, 600))  # longer than what is sent ahead
        await listen(stream)

    said = np.concatenate([silence(0.5), tone(1.0), silence(2.0), tone(0.5)])
    path = tmp_path / f"call.{suffix}"
    recording = call(until(6.0), recorded(agent, path), audio=said)
    wav = same(path, recording)
    assert wav.seconds == pytest.approx(6.0, abs=0.1)


def test_another_format_is_recorded_at_its_own_rate(tmp_path):
    async def agent(stream):
        await stream.play(tone(1.0, 600, 16000), rate=16000)
        await listen(stream)

    said = np.concatenate([silence(0.5, 16000), tone(1.0, 440, 16000)])
    recording = call(until(2.0), recorded(agent, tmp_path / "a.wav"), audio=said, format=L16_16K)
    same(tmp_path / "a.wav", recording, 16000)


def test_what_was_interrupted_ends_where_the_caller_stopped_hearing_it(tmp_path):
    class Agent(Handler):
        async def on_start(self):
            await self.stream.play(tone(5.0))

        async def on_dtmf(self, digit):
            self.stream.interrupt()
            await asyncio.sleep(0.5)
            await self.stream.play(tone(0.5))

    async def test(line):
        await line.phone.wait_until(1.3)
        line.phone.press("1")
        await line.phone.wait_until(4.0)

    recording = call(test, recorded(Agent, tmp_path / "a.wav"))
    wav = same(tmp_path / "a.wav", recording)
    assert len(speech(wav.samples[:, 1], 8000)) == 2


def test_a_pause_of_the_agent_is_as_long_as_it_was(tmp_path):
    async def agent(stream):
        await stream.play(tone(2.0))
        await asyncio.sleep(0.7)
        stream.pause()
        await asyncio.sleep(1.5)
        stream.resume()
        await listen(stream)

    recording = call(until(5.0), recorded(agent, tmp_path / "a.wav"))
    wav = same(tmp_path / "a.wav", recording)
    assert len(speech(wav.samples[:, 1], 8000)) == 2


def test_an_underrun_is_as_long_as_it_was(tmp_path):
    async def agent(stream):
        await stream.play(tone(3.0))
        await asyncio.sleep(0.5)
        stall(1.2)
        await listen(stream)

    recording = call(until(6.0), recorded(agent, tmp_path / "a.wav"))
    wav = same(tmp_path / "a.wav", recording)
    assert len(speech(wav.samples[:, 1], 8000)) == 2


@pytest.mark.parametrize("what", ["late:80ms", "odd-sizes", "missing-numbers", "out-of-order"])
def test_frames_are_where_they_were_said_however_they_come(tmp_path, what):
    async def agent(stream):
        await asyncio.sleep(1.5)
        await stream.play(tone(0.5))
        await listen(stream)

    said = np.concatenate([silence(0.5), tone(1.0), silence(1.0), tone(1.0)])
    misbehaviour = Misbehaviour.parse(what)
    same(
        tmp_path / "a.wav",
        call(
            until(4.5), recorded(agent, tmp_path / "a.wav"), audio=said, misbehaviour=misbehaviour
        ),
    )


def test_nothing_that_is_said_in_a_pause_of_the_recording_is_in_it(tmp_path):
    class Agent(Recorder):
        async def on_start(self):
            await self.stream.play(tone(4.0))
            await asyncio.sleep(1.0)
            self.recording.pause()
            await asyncio.sleep(1.0)
            self.recording.resume()
            pauses.extend(self.recording.pauses)

    pauses = []
    routes = Routes(Route(Agent, settings={"path": tmp_path / "a.wav"}))
    call(until(4.5), routes, audio=tone(4.0))
    wav = read_wav(tmp_path / "a.wav")
    for side in (0, 1):
        assert not wav.samples[8160:15840, side].any()
        first, second = speech(wav.samples[:, side], 8000)
        assert first[1] == pytest.approx(1.0, abs=ALIGNED)
        assert second[0] == pytest.approx(2.0, abs=ALIGNED)
    assert pauses == [(pytest.approx(1.0), pytest.approx(2.0))]


def test_the_path_is_filled_in_and_its_folders_are_made(tmp_path):
    async def main():
        async with joined(
            recorded(listen, tmp_path / "{called}" / "{call_id}.wav"), called="+1 415/../etc"
        ) as line:
            return line.stream.call_id

    call_id = run_virtual(main())
    assert (tmp_path / "+1_415____etc" / f"{call_id}.wav").exists()


def test_a_recording_that_is_there_is_kept(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"precious")
    call(until(0.5), recorded(listen, tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").read_bytes() == b"precious"
    assert read_wav(tmp_path / "a-2.wav").seconds == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_written_so_far_can_be_read_while_the_call_goes_on(tmp_path, suffix):
    async def test(line):
        await line.phone.wait_until(5.0)
        # As it would be found if the process were killed now.
        path = tmp_path / f"copy.{suffix}"
        path.write_bytes((tmp_path / f"a.{suffix}").read_bytes())
        with soundfile.SoundFile(path) as file:
            samples = file.read(8000 * 3, dtype="int16")
        assert len(samples) == 8000 * 3
        assert np.abs(samples[8000:, 0]).max() > 7000

    call(test, recorded(listen, tmp_path / f"a.{suffix}"), audio=tone(6.0))


def test_a_file_that_cannot_be_made_does_not_end_the_call(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    async def test(line):
        await line.phone.wait_until(1.0)
        assert not line.stream.ended
        assert line.stream.tap is None

    call(test, recorded(listen, tmp_path / "file" / "a.wav"))


def test_a_disk_that_is_full_does_not_end_the_call(tmp_path, monkeypatch):
    def full(self, samples):
        raise OSError(28, "No space left on device")

    async def test(line):
        await line.phone.wait_until(3.0)
        assert not line.stream.ended
        assert line.stream.tap is None

    monkeypatch.setattr("mediaserver.agents.recording.WavFile.write", full)
    call(test, recorded(listen, tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("path", "said"),
    [("a.mp3", "a .wav or .flac file"), ("{caler}.wav", "there are {call_id}"), ("{0}.wav", "has")],
)
def test_a_path_that_is_none_is_refused(path, said):
    async def main():
        async with joined(recorded(listen, path)) as line:
            await line.phone.wait_closed()

    with pytest.raises(ValueError, match=said):
        run_virtual(main())


def test_what_is_no_handler_cannot_be_recorded():
    with pytest.raises(HandlerError):
        recorded("calls.wav")


def test_a_recorded_class_is_what_it_was():
    class Agent(Handler):
        """Says hello."""

        def __init__(self, voice):
            self.voice = voice

        async def on_answer(self, answer, shared):
            pass

    agent = recorded(Agent)
    assert agent.__qualname__ == Agent.__qualname__
    assert agent.__doc__ == "Says hello."
    assert Route(agent, settings={"voice": "ann"}).prepare().voice == "ann"


def test_a_recorded_function_takes_its_settings(tmp_path):
    async def agent(stream, *, voice):
        voices.append(voice)

    voices = []
    call(
        lambda line: line.phone.wait_closed(),
        Routes(Route(recorded(agent, tmp_path / "a.wav"), settings={"voice": "ann"})),
    )
    assert voices == ["ann"]
