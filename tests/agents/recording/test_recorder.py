import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from structlog.testing import capture_logs

from audiocodecs import L16_16K, Samples, Wav, read_wav
from mediaserver import Stream, StreamReport
from mediaserver.agents.menu import Menu
from mediaserver.agents.recording.recorder import Recorder, recorded
from mediaserver.agents.recording.recording import WavFile, open_recording
from mediaserver.handler import Handler, HandlerError
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import Misbehaviour
from mediaserver.testing import JoinedCall, in_virtual_time, joined, run_virtual, stall
from tests.agents.both_tracks import call_with_both_tracks, hertz_of
from tests.agents.scripted_call import Scripted, converse, voice


ALIGNED = 0.04
"""Seconds by which a recording may differ from what the phone itself recorded."""


def tone(seconds: float, hertz: int = 440, rate: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def silence(seconds: float, rate: int = 8000) -> Samples:
    return np.zeros(round(seconds * rate), np.int16)


def speech(samples: Samples, rate: int) -> NDArray[np.float64]:
    """Return where there is sound: from, to, in seconds; silences under 50 ms are none."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 100)
    if not len(loud):
        return np.zeros((0, 2))
    breaks = np.flatnonzero(np.diff(loud) > rate * 0.05)
    starts, ends = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]]
    return np.stack([starts, ends], 1) / rate


def call(
    test: Callable[..., Any], handler: Callable[..., Any] | Routes | type[Any], **phone: Any
) -> Samples:
    """Return what the phone recorded, after `test` of the line."""

    async def main() -> Samples:
        async with joined(handler, **phone) as line:
            await test(line)
        return line.phone.recording()

    return run_virtual(main())


def until(seconds: float) -> Callable[..., Any]:
    async def wait(line: JoinedCall) -> None:
        await line.phone.wait_until(seconds)

    return wait


def same(path: Path, recording: Samples, rate: int = 8000) -> Wav:
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


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


async def listen(stream: Stream) -> None:
    async for _ in stream.audio():
        pass


def test_the_other_party_is_recorded_on_the_right(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    routes = Routes(Route(Recorder, settings={"path": path}))
    call_with_both_tracks(routes, caller=(0.5, 1.5), other=(1.0, 2.0), until=2.5)
    left, right = read_wav(path).samples.T
    assert [hertz_of(left[at : at + 2400]) for at in (4800, 8800, 12800)] == [400, 400, 0]
    assert [hertz_of(right[at : at + 2400]) for at in (4800, 8800, 12800)] == [0, 1000, 1000]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_both_sides_are_recorded_where_they_are_heard(tmp_path: Path, suffix: str) -> None:
    async def agent(stream: Stream) -> None:
        await asyncio.sleep(1.0)
        await stream.play(tone(3.0, 600))  # longer than what is sent ahead
        await listen(stream)

    said = np.concatenate([silence(0.5), tone(1.0), silence(2.0), tone(0.5)])
    path = tmp_path / f"call.{suffix}"
    recording = call(until(6.0), recorded(agent, path), audio=said)
    wav = same(path, recording)
    assert wav.seconds == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_call_may_be_short(tmp_path: Path, suffix: str, seconds: float, logs: list[Any]) -> None:
    call(until(seconds), recorded(listen, tmp_path / f"a.{suffix}"), audio=tone(1.0))
    assert not [each for each in logs if each["log_level"] == "error"]
    with soundfile.SoundFile(tmp_path / f"a.{suffix}") as file:
        assert file.frames == pytest.approx(seconds * 8000, abs=500)


def test_another_format_is_recorded_at_its_own_rate(tmp_path: Path) -> None:
    async def agent(stream: Stream) -> None:
        await stream.play(tone(1.0, 600, 16000), rate=16000)
        await listen(stream)

    said = np.concatenate([silence(0.5, 16000), tone(1.0, 440, 16000)])
    recording = call(until(2.0), recorded(agent, tmp_path / "a.wav"), audio=said, format=L16_16K)
    same(tmp_path / "a.wav", recording, 16000)


def test_what_was_interrupted_ends_where_the_caller_stopped_hearing_it(tmp_path: Path) -> None:
    class Agent(Handler):
        async def on_start(self) -> None:
            await self.stream.play(tone(5.0))

        async def on_dtmf(self, digit: str) -> None:
            self.stream.interrupt()
            await asyncio.sleep(0.5)
            await self.stream.play(tone(0.5))

    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(1.3)
        line.phone.press("1")
        await line.phone.wait_until(4.0)

    recording = call(test, recorded(Agent, tmp_path / "a.wav"))
    wav = same(tmp_path / "a.wav", recording)
    assert len(speech(wav.samples[:, 1], 8000)) == 2


def test_a_pause_of_the_agent_is_as_long_as_it_was(tmp_path: Path) -> None:
    async def agent(stream: Stream) -> None:
        await stream.play(tone(2.0))
        await asyncio.sleep(0.7)
        stream.pause()
        await asyncio.sleep(1.5)
        stream.resume()
        await listen(stream)

    recording = call(until(5.0), recorded(agent, tmp_path / "a.wav"))
    wav = same(tmp_path / "a.wav", recording)
    assert len(speech(wav.samples[:, 1], 8000)) == 2


def test_an_underrun_is_as_long_as_it_was(tmp_path: Path) -> None:
    async def agent(stream: Stream) -> None:
        await stream.play(tone(3.0))
        await asyncio.sleep(0.5)
        stall(1.2)
        await listen(stream)

    recording = call(until(6.0), recorded(agent, tmp_path / "a.wav"))
    wav = same(tmp_path / "a.wav", recording)
    assert len(speech(wav.samples[:, 1], 8000)) == 2


@pytest.mark.parametrize("what", ["late:80ms", "odd-sizes", "missing-numbers", "out-of-order"])
def test_frames_are_where_they_were_said_however_they_come(tmp_path: Path, what: str) -> None:
    async def agent(stream: Stream) -> None:
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


def test_nothing_that_is_said_in_a_pause_of_the_recording_is_in_it(tmp_path: Path) -> None:
    class Agent(Recorder):
        async def on_start(self) -> None:
            await self.stream.play(tone(4.0))
            await asyncio.sleep(1.0)
            self.recording.pause()
            await asyncio.sleep(1.0)
            self.recording.resume()
            pauses.extend(self.recording.pauses)

    pauses: list[Any] = []
    routes = Routes(Route(Agent, settings={"path": tmp_path / "a.wav"}))
    call(until(4.5), routes, audio=tone(4.0))
    wav = read_wav(tmp_path / "a.wav")
    for side in (0, 1):
        assert not wav.samples[8160:15840, side].any()
        first, second = speech(wav.samples[:, side], 8000)
        assert first[1] == pytest.approx(1.0, abs=ALIGNED)
        assert second[0] == pytest.approx(2.0, abs=ALIGNED)
    assert pauses == [(pytest.approx(1.0), pytest.approx(2.0))]


@pytest.mark.parametrize("seconds", [1.0, 0.1], ids=["interrupted", "paused for a cough"])
def test_a_voice_agent_is_recorded_as_its_caller_hears_it(
    tmp_path: Path,
    seconds: float,
) -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(0.5)
        line.phone.say(voice(0.8))
        await line.phone.wait_until(3.0)
        line.phone.say(voice(seconds))
        await line.phone.wait_until(9.0)

    counting = "One two three four five six seven eight nine ten."
    call = converse(
        script,
        kind=recorded(Scripted, tmp_path / "a.wav"),
        hears=["Count.", "Stop." if seconds == 1.0 else ""],
        answers=[counting, "All right."],
    )
    assert call.agent.barge_ins == [seconds == 1.0]
    wav = same(tmp_path / "a.wav", call.line.phone.recording())
    assert len(speech(wav.samples[:, 1], 8000)) >= 4


RECORDS_UNTIL_KILLED = """
import sys
import numpy as np
from mediaserver.agents.recording.recorder import recorded
from mediaserver.testing import joined, run_virtual

async def listen(stream):
    async for frame in stream.audio():
        await stream.play(frame)

async def main():
    noise = np.random.default_rng(1).integers(-8000, 8000, 8000 * 60).astype(np.int16)
    async with joined(recorded(listen, sys.argv[1]), audio=noise) as line:
        await line.phone.wait_until(5)
        print("recorded", flush=True)
        sys.stdin.read()

run_virtual(main())
"""


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_process_that_is_killed_leaves_a_recording_that_can_be_read(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    command = [sys.executable, "-c", RECORDS_UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"recorded\n"
        process.kill()
    samples = read_wav(path).samples
    assert len(samples) > 5000
    assert samples[1000:, 0].astype(float).std() == pytest.approx(16000 / 12**0.5, rel=0.1)


def test_the_path_is_filled_in_and_its_folders_are_made(tmp_path: Path) -> None:
    async def main() -> str:
        async with joined(
            recorded(listen, tmp_path / "{called}" / "{call_id}.wav"), called="+1 415/../etc"
        ) as line:
            return line.stream.call_id

    call_id = run_virtual(main())
    assert (tmp_path / "+1_415____etc" / f"{call_id}.wav").exists()


def test_a_recording_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"precious")
    call(until(0.5), recorded(listen, tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").read_bytes() == b"precious"
    assert read_wav(tmp_path / "a-2.wav").seconds == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_written_so_far_can_be_read_while_the_call_goes_on(
    tmp_path: Path, suffix: str
) -> None:
    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(5.0)
        # As it would be found if the process were killed now.
        path = tmp_path / f"copy.{suffix}"
        path.write_bytes((tmp_path / f"a.{suffix}").read_bytes())
        samples = read_wav(path).samples
        assert len(samples) >= 8000 * 3
        assert np.abs(samples[8000:, 0]).max() > 7000

    call(test, recorded(listen, tmp_path / f"a.{suffix}"), audio=tone(6.0))


class Pausing(Recorder):
    """Pauses the recording after two seconds, whatever has become of it."""

    async def on_start(self) -> None:
        await asyncio.sleep(2.0)
        recording: Any = self.stream.tap
        recording.pause()


def test_a_file_that_cannot_be_made_does_not_end_the_call(tmp_path: Path, logs: list[Any]) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(3.0)
        assert not line.stream.ended
        recording: Any = line.stream.tap
        assert recording.failed

    call(test, Routes(Route(Pausing, settings={"path": tmp_path / "file" / "a.wav"})))
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["recording failed"]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_disk_that_is_full_does_not_end_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, logs: list[Any]
) -> None:
    """``/dev/full`` takes nothing that is written."""

    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(3.0)
        assert not line.stream.ended

    opened = os.open
    monkeypatch.setattr(
        "mediaserver.agents.recording.recording.os.open",
        lambda path, flags, mode: opened("/dev/full", os.O_RDWR),
    )
    path = tmp_path / f"a.{suffix}"
    call(test, Routes(Route(Pausing, settings={"path": path})), audio=tone(3.0))
    errors = [each for each in logs if each["log_level"] == "error"]
    assert [each["event"] for each in errors] == ["recording failed"]
    assert errors[0]["error"] == "[Errno 28] No space left on device"


@pytest.mark.parametrize("room", [200, 30_000])
def test_a_disk_that_fills_while_flac_is_written_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    left = room

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[:left])
        left -= written
        return written

    write = os.write
    monkeypatch.setattr("mediaserver.agents.recording.recording.os.write", limited)
    _, file = open_recording(tmp_path / "a.flac", 8000)
    noise = np.random.default_rng(1).integers(-9000, 9000, (24_000, 2)).astype(np.int16)
    with pytest.raises(OSError, match="No space left on device"):
        file.write(noise)
    with pytest.raises(OSError, match="No space left on device"):
        file.close()


def test_a_recording_that_failed_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: WavFile, samples: Samples) -> None:
        raise OSError(28, "No space left on device")

    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(80.0)
        recording: Any = line.stream.tap
        assert recording._timeline.lost == 0

    monkeypatch.setattr("mediaserver.agents.recording.recording.WavFile.write", full)
    call(test, recorded(listen, tmp_path / "a.wav"))


def test_a_call_that_ends_in_a_pause_of_the_recording_is_recorded_up_to_there(
    tmp_path: Path,
) -> None:
    class Agent(Recorder):
        async def on_start(self) -> None:
            await self.stream.play(tone(4.0))
            await asyncio.sleep(1.0)
            self.recording.pause()

        async def on_stop(self, reason: str) -> None:
            pauses.extend(self.recording.pauses)

    pauses: list[Any] = []
    routes = Routes(Route(Agent, settings={"path": tmp_path / "a.wav"}))
    call(until(3.0), routes, audio=tone(4.0))
    wav = read_wav(tmp_path / "a.wav")
    assert wav.seconds == pytest.approx(3.0, abs=0.1)
    assert not wav.samples[8160:].any()
    assert pauses == [(pytest.approx(1.0), None)]


def test_a_handler_that_outlives_its_call_makes_the_recording_no_longer(tmp_path: Path) -> None:
    class Agent(Recorder):
        async def on_stop(self, reason: str) -> None:
            await asyncio.sleep(4.0)

    routes = Routes(Route(Agent, settings={"path": tmp_path / "a.wav"}))
    call(until(3.0), routes)
    assert 3 <= read_wav(tmp_path / "a.wav").seconds <= 4.1


def test_nobody_else_can_read_a_recording(tmp_path: Path) -> None:
    call(until(0.5), recorded(listen, tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("path", "said"),
    [("a.mp3", ".wav or .flac"), ("{caler}.wav", "allowed: {call_id}"), ("{0}.wav", "has")],
)
def test_a_path_that_is_none_is_refused_at_once(path: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recorded(listen, path)
    with pytest.raises(ValueError, match=said):
        Recorder(path)


def test_two_recordings_of_one_stream_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with joined(recorded(recorded(listen, tmp_path / "a.wav"), tmp_path / "b.wav")):
            pass

    with pytest.raises(RuntimeError, match="already has a tap"):
        run_virtual(main())


def test_what_is_no_handler_cannot_be_recorded() -> None:
    with pytest.raises(HandlerError):
        recorded(cast(Any, "calls.wav"))


def test_a_recorded_class_is_what_it_was() -> None:
    class Agent(Handler):
        """Says hello."""

        def __init__(self, voice: str) -> None:
            self.voice = voice

        async def on_answer(self, answer: Any, shared: Any) -> None:
            pass

    agent = recorded(Agent)
    assert agent.__qualname__ == Agent.__qualname__
    assert agent.__doc__ == "Says hello."
    made = Route(agent, settings={"voice": "ann"}).prepare()
    assert isinstance(made, Agent)
    assert made.voice == "ann"


def test_a_menu_can_be_recorded(tmp_path: Path) -> None:
    menu = Menu(prompt=Wav(tone(1.0), 8000), choices={"1": "hang_up"}, retries=0, timeout=1.0)
    agent = recorded(menu, tmp_path / "a.wav")
    assert Route(agent).name == "Menu"
    recording = call(lambda line: line.phone.wait_closed(), agent)
    same(tmp_path / "a.wav", recording)


def test_a_recorded_function_takes_its_settings(tmp_path: Path) -> None:
    async def greet(stream: Stream, *, voice: str) -> None:
        voices.append(voice)

    agent: Any = greet
    voices: list[Any] = []
    call(
        lambda line: line.phone.wait_closed(),
        Routes(Route(recorded(agent, tmp_path / "a.wav"), settings={"voice": "ann"})),
    )
    assert voices == ["ann"]


@in_virtual_time
async def test_a_recording_is_complete_by_then(tmp_path: Path) -> None:
    sizes: list[int] = []

    async def note(report: StreamReport) -> None:
        assert report.recording is not None
        sizes.append(report.recording.stat().st_size)

    class Kept(Recorder):
        async def on_ended(self, report: StreamReport) -> None:
            await note(report)

    async def handler(stream: Stream) -> None:
        stream.after_call(note)
        async for _ in stream.audio():
            pass

    async with joined(Routes(Route(Kept, settings={"path": tmp_path / "a.wav"}))) as line:
        await line.phone.wait_until(2.0)
    async with joined(recorded(handler, tmp_path / "b.wav")) as line:
        await line.phone.wait_until(2.0)
    assert all(size > 2 * 8000 * 4 - 8000 for size in sizes)
    assert len(sizes) == 2
