import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import structlog

from audiocodecs import Samples
from mediaserver import Checkpoint, Frame, Interrupt, Stream
from mediaserver.call import StreamStatus, Turn
from mediaserver.handler import Handler
from mediaserver.protocol import StreamError
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import Misbehaviour
from mediaserver.settings import Settings
from mediaserver.testing import JoinedCall, joined, run_virtual


def tone(seconds: float) -> Samples:
    times = np.arange(round(seconds * 8000)) / 8000
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def now() -> float:
    return asyncio.get_running_loop().time()


async def nothing(stream: Any) -> None:
    async for _ in stream.audio():
        pass


def called(handler: Any, test: Callable[..., Any], **how: Any) -> Any:
    """Run `test` on the line of a call to `handler`."""

    async def main() -> Any:
        async with joined(handler, **how) as line:
            await test(line)
        return line

    return run_virtual(main())


async def until_closed(line: JoinedCall) -> None:
    await line.phone.wait_closed()


def until(seconds: float) -> Callable[..., Any]:
    async def wait(line: JoinedCall) -> None:
        await line.phone.wait_until(seconds)

    return wait


# The primitive.


def test_a_handler_that_returns_closes_the_stream() -> None:
    async def handler(stream: Stream) -> None:
        await asyncio.sleep(1)

    report = called(handler, until_closed).phone.report()
    assert report.ended_by == "server"
    assert report.close_code == 1000
    assert report.close_reason == "the handler returned"


def test_a_handler_may_return_after_its_call() -> None:
    ended = []

    async def handler(stream: Stream) -> None:
        async for _ in stream.audio():
            pass
        await asyncio.sleep(1)
        ended.append(now())

    called(handler, until(1.0))
    assert ended == [pytest.approx(2.0, abs=0.1)]


def test_an_exception_ends_the_call_and_is_counted() -> None:
    async def handler(stream: Stream) -> None:
        await asyncio.sleep(0.5)
        raise ValueError("broken")

    line = called(handler, until_closed, raises=False)
    assert line.phone.report().close_code == 1011
    assert line.runtime.counters.handler_errors == 1


def test_an_exception_is_logged_with_the_ids_of_its_call() -> None:
    async def handler(stream: Stream) -> None:
        raise ValueError("broken")

    with structlog.testing.capture_logs() as logs:
        line = called(handler, until_closed, raises=False)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["call"] == line.phone.identity.call_id
    assert entry["stream"] == line.phone.identity.stream_id
    assert str(entry["exc_info"]) == "broken"


def test_an_exception_touches_no_other_call() -> None:
    async def main() -> Any:
        async def handler(stream: Stream) -> None:
            async for frame in stream.audio():
                if stream.extra_headers:
                    raise ValueError("broken")
                await stream.play(frame)

        async with (
            joined(handler) as fine,
            joined(handler, extra_headers={"a": "b"}, raises=False) as broken,
        ):
            await broken.phone.wait_closed()
            await fine.phone.wait_until(2.0)
            return fine.phone.report()

    report = run_virtual(main())
    assert report.ended_by is None
    assert report.audio_played == pytest.approx(2.0, abs=0.05)


def test_playing_to_a_call_that_has_ended_is_no_error_of_the_handlers() -> None:
    async def handler(stream: Stream) -> None:
        while True:
            await stream.play(tone(0.1))

    line = called(handler, until(1.0))
    assert line.runtime.counters.handler_errors == 0


def test_a_handler_that_outlives_its_call_is_cancelled_after_the_grace() -> None:
    cancelled = []

    async def handler(stream: Stream) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(now())
            raise

    called(handler, until(1.0), settings=Settings(grace=3.0))
    assert cancelled == [pytest.approx(4.0, abs=1.0)]


# Hooks.


class Noting(Handler):
    """Notes its hooks in a list of the test's."""

    def __init__(self, notes: list[Any]) -> None:
        self.notes = notes

    def note(self, *what: Any) -> None:
        self.notes.append((*what, round(now(), 2)))

    async def on_start(self) -> None:
        self.note("start")

    async def on_dtmf(self, digit: str) -> None:
        self.note("dtmf", digit)

    async def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.note("checkpoint", checkpoint.name, checkpoint.played)

    async def on_interrupt(self, interrupt: Interrupt) -> None:
        self.note("interrupt", interrupt.unheard)

    async def on_stop(self, reason: str) -> None:
        self.note("stop")


def noted(handler: type[Any], test: Callable[..., Any], **how: Any) -> list[Any]:
    notes: list[Any] = []
    called(Routes(Route(handler, settings={"notes": notes})), test, **how)
    return notes


def test_hooks_run_from_start_to_stop() -> None:
    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(0.1)
        line.phone.press("7")
        await line.phone.wait_until(0.2)

    start, dtmf, stop = noted(Noting, test)
    assert start[0] == "start"
    assert dtmf[:2] == ("dtmf", "7")
    assert stop[0] == "stop"


def test_on_dtmf_has_the_keys_of_the_caller_alone() -> None:
    async def test(line: JoinedCall) -> None:
        for track in ("outbound", "inbound", "outbound"):
            line.call.session.receive(
                f'{{"event": "dtmf", "dtmf": {{"track": "{track}", "digit": "{len(track)}"}}}}'
            )
        await line.phone.wait_until(0.2)

    tracks = {"tracks": ("inbound", "outbound"), "bidirectional": False}
    assert [what[:2] for what in noted(Noting, test, **tracks)[1:-1]] == [("dtmf", "7")]


def test_the_hooks_of_a_handler_without_any_do_nothing() -> None:
    async def test(line: JoinedCall) -> None:
        line.phone.press("1")
        await line.stream.play(tone(0.1))
        line.stream.checkpoint("end")
        await line.phone.wait_until(0.5)
        line.stream.interrupt()

    line = called(Handler, test, misbehaviour=Misbehaviour(no_cleared=True))
    assert line.runtime.counters.handler_errors == 0


def test_audio_of_a_handler_without_on_audio_is_not_counted_as_dropped() -> None:
    line = called(Handler, until(5.0))
    assert line.runtime.ended_totals.frames_in > 200
    assert line.runtime.ended_totals.frames_dropped == 0


def test_a_handler_without_on_audio_may_read_audio_itself() -> None:
    class Reading(Handler):
        async def on_start(self) -> None:
            async for _ in self.stream.audio():
                read["frames"] += 1

    read: Counter[Any] = Counter()
    called(Reading, until(1.0))
    assert read["frames"] >= 48


def test_on_audio_takes_one_frame_at_a_time() -> None:
    class Slow(Handler):
        running = 0

        async def on_audio(self, frame: Frame) -> None:
            self.running += 1
            most.append(self.running)
            await asyncio.sleep(0.03)
            self.running -= 1

    most: list[Any] = []
    called(Slow, until(1.0))
    assert set(most) == {1}


def test_a_checkpoint_reaches_its_hook() -> None:
    async def test(line: JoinedCall) -> None:
        await line.stream.play(tone(0.2))
        line.stream.checkpoint("end")
        await line.phone.wait_until(0.5)

    assert ("checkpoint", "end", True) in [note[:3] for note in noted(Noting, test)]


def test_an_interruption_reaches_its_hook() -> None:
    async def test(line: JoinedCall) -> None:
        await line.stream.play(tone(2))
        await line.phone.wait_until(0.5)
        line.stream.interrupt()
        await line.phone.wait_until(0.6)

    (note,) = [note for note in noted(Noting, test) if note[0] == "interrupt"]
    assert note[1] == pytest.approx(1.5, abs=0.05)


def test_an_error_of_plivos_reaches_its_hook() -> None:
    class Failing(Handler):
        async def on_error(self, error: StreamError) -> None:
            errors.append(error)

    async def test(line: JoinedCall) -> None:
        line.call.session.receive('{"event":"playFailed","reason":"too loud"}')

    errors: list[Any] = []
    called(Failing, test)
    called(Handler, test)
    assert errors == [StreamError("playFailed", "too loud")]


def test_a_status_callback_reaches_its_hook() -> None:
    class Informed(Handler):
        async def on_status(self, status: StreamStatus) -> None:
            told.append(status)

    async def test(line: JoinedCall) -> None:
        line.call.session.report(status)

    told: list[Any] = []
    status = StreamStatus(kind="degraded", error="30 % full")
    called(Informed, test)
    called(Handler, test)
    assert told == [status]


def test_hooks_do_not_hold_each_other_up() -> None:
    """A start that waits to be heard, audio that waits for room, and a key that waits for ever."""

    class Busy(Noting):
        async def on_start(self) -> None:
            playback = await self.stream.play(tone(60))
            await playback.heard()

        async def on_audio(self, frame: Frame) -> None:
            await self.stream.play(tone(60))
            await self.stream.play(tone(60))

        async def on_dtmf(self, digit: str) -> None:
            self.note("dtmf", digit)
            await asyncio.Event().wait()

    async def test(line: JoinedCall) -> None:
        await line.phone.wait_until(1.0)
        line.phone.press("1")
        await line.phone.wait_until(2.0)
        line.phone.press("2")
        await line.phone.wait_until(3.0)

    first, second, stop = noted(Busy, test, settings=Settings(grace=1.0))
    assert first == ("dtmf", "1", pytest.approx(1.0, abs=0.03))
    assert second == ("dtmf", "2", pytest.approx(2.0, abs=0.03))
    assert stop == ("stop", pytest.approx(3.0, abs=0.05))


def test_on_start_may_finish_after_the_call() -> None:
    class Saving(Noting):
        async def on_start(self) -> None:
            playback = await self.stream.play(tone(3.0))
            heard = await playback.heard()
            await asyncio.sleep(0.5)
            self.note(f"{heard.interrupted} {heard.seconds:.1f}")

    notes = noted(Saving, until(1.0))
    assert ("True 1.0", pytest.approx(1.5, abs=0.05)) in notes


def test_on_start_is_cancelled_after_the_grace() -> None:
    class Waiting(Noting):
        async def on_start(self) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                self.note("cancelled")

    notes = noted(Waiting, until(1.0))
    assert ("cancelled", pytest.approx(1.0 + 5.0, abs=1.1)) in notes


def test_on_stop_comes_after_all_audio() -> None:
    class Slow(Noting):
        async def on_audio(self, frame: Frame) -> None:
            await asyncio.sleep(0.03)
            self.note("audio")

    notes = [what for what, _ in noted(Slow, until(1.0))]
    assert notes.count("audio") > 45
    assert notes[-1] == "stop"


@pytest.mark.parametrize("listens", [True, False])
def test_on_end_comes_after_all_audio_and_before_on_stop(listens: bool) -> None:
    async def on_end(self: Any) -> None:
        self.note("end")
        await asyncio.sleep(0.5)
        self.note("ended")

    async def on_audio(self: Any, frame: Frame) -> None:
        self.note("audio")

    hooks = {"on_end": on_end, **({"on_audio": on_audio} if listens else {})}
    notes = [what for what, _ in noted(type("Ending", (Noting,), hooks), until(1.0))]
    assert notes[-3:] == ["end", "ended", "stop"]
    assert ("audio" in notes) is listens


def test_hooks_that_hang_do_not_pile_up() -> None:
    running = []

    class Hanging(Handler):
        async def on_dtmf(self, digit: str) -> None:
            running.append(digit)
            await asyncio.sleep(3600)

    async def test(line: JoinedCall) -> None:
        for _ in range(3):
            line.phone.press("1" * 100)
        await line.phone.wait_until(60.0)

    called(Hanging, test)
    assert len(running) == 100


@pytest.mark.parametrize("hook", ["on_start", "on_dtmf", "function", "say"])
def test_sys_exit_in_a_handler_ends_its_call_alone(hook: str) -> None:
    async def leaving() -> AsyncIterator[Any]:
        sys.exit(3)
        yield  # type: ignore[unreachable]

    class Leaving(Handler):
        async def on_start(self) -> None:
            if hook == "on_start":
                sys.exit(3)
            if hook == "say":
                await self.stream.say(leaving())

        async def on_dtmf(self, digit: str) -> None:
            if hook == "on_dtmf":
                sys.exit(3)

    async def function(stream: Stream) -> None:
        sys.exit(3)

    async def test(line: JoinedCall) -> None:
        line.phone.press("1")
        await line.phone.wait_closed()

    line = called(function if hook == "function" else Leaving, test, raises=False)
    assert line.phone.report().close_code == 1011
    (error,) = line.runtime.errors
    assert str(error) == "the handler called sys.exit(3)"


def test_reading_past_the_end_is_no_error() -> None:
    async def handler(stream: Stream) -> None:
        controls = stream.controls()
        while True:
            await anext(controls)

    line = called(handler, until(0.5))
    assert line.runtime.counters.handler_errors == 0


@pytest.mark.parametrize("hook", ["on_start", "on_audio", "__call__"])
def test_reading_past_the_end_of_something_else_is_an_error(hook: str) -> None:
    async def fails(self: Handler, _: object = None) -> None:
        raise StopAsyncIteration  # as ``anext`` of what is exhausted does

    agent = type("Agent", (Handler,), {"__module__": "agents", hook: fails})
    line = called(agent, until_closed, raises=False)
    assert line.runtime.counters.handler_errors == 1


def test_a_hook_that_fails_ends_the_call() -> None:
    class Failing(Handler):
        async def on_dtmf(self, digit: str) -> None:
            raise ValueError("broken")

    async def test(line: JoinedCall) -> None:
        line.phone.press("1")
        await line.phone.wait_closed()

    line = called(Failing, test, raises=False)
    assert line.phone.report().close_code == 1011
    assert line.runtime.counters.handler_errors == 1


def test_the_exception_of_a_hook_is_logged_as_it_was_raised() -> None:
    class Failing(Handler):
        async def on_start(self) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fail())

        async def fail(self) -> None:
            raise ValueError("broken")

    with structlog.testing.capture_logs() as logs:
        called(Failing, until_closed, raises=False)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert isinstance(entry["exc_info"], ValueError)


@pytest.mark.parametrize("hook", ["on_start", "on_stop"])
def test_a_hook_that_plays_to_an_ended_call_is_no_error(hook: str) -> None:
    async def playing(self: Any, *_: Any) -> None:
        while True:
            await self.stream.play(tone(1))

    line = called(type("Playing", (Handler,), {hook: playing}), until(1.0))
    assert line.runtime.counters.handler_errors == 0


def test_on_stop_that_plays_leaves_other_hooks_their_time() -> None:
    class Finishing(Noting):
        async def on_dtmf(self, digit: str) -> None:
            await asyncio.sleep(1.0)
            self.note("saved")

        async def on_stop(self, reason: str) -> None:
            await self.stream.play(tone(1))

    async def test(line: JoinedCall) -> None:
        line.phone.press("1")
        await line.phone.wait_until(0.5)

    assert noted(Finishing, test)[-1] == ("saved", pytest.approx(1.0, abs=0.05))


def test_each_call_has_an_instance_of_its_own() -> None:
    class Counting(Handler):
        def __init__(self) -> None:
            instances.append(self)

    async def main() -> None:
        async with joined(Counting), joined(Counting):
            pass

    instances: list[Any] = []
    run_virtual(main())
    assert len(instances) == 2
    assert instances[0].stream is not instances[1].stream


def test_a_handler_may_be_run_by_another() -> None:
    class Brief(Handler):
        async def on_start(self) -> None:
            started.append(self.stream.call_id)

    async def handler(stream: Stream) -> None:
        await Brief()(stream)

    started: list[Any] = []
    assert called(handler, until(0.5)).phone.identity.call_id == started[0]


def test_a_turn_is_told_to_its_hook() -> None:
    class Agent(Handler):
        async def on_start(self) -> None:
            self.stream.report(Turn(number=1, agent="hello"))

        async def on_turn(self, turn: Turn) -> None:
            told.append(turn.agent)

    told: list[Any] = []
    called(Agent, until(0.5))
    assert told == ["hello"]


def test_on_end_comes_although_on_audio_played_to_the_ended_stream() -> None:
    class Playing(Handler):
        async def on_audio(self, frame: Frame) -> None:
            while True:
                await self.stream.play(tone(1))

        async def on_end(self) -> None:
            ended.append(now())

    ended: list[Any] = []
    called(Playing, until(1.0))
    assert ended == [pytest.approx(1.0, abs=0.1)]


# What the server's operator wants.


def test_an_operator_has_a_handler_say_only_what_it_has_a_hook_for() -> None:
    said = []

    class Speaking(Handler):
        async def on_say(self, text: str) -> None:
            said.append(text)

    async def say(line: JoinedCall) -> None:
        await line.phone.wait_until(0.1)
        assert line.stream.on_say is not None
        await line.stream.on_say("Hello.")
        assert line.stream.on_clear is None

    called(Speaking, say)
    assert said == ["Hello."]

    async def cannot(line: JoinedCall) -> None:
        await line.phone.wait_until(0.1)
        assert line.stream.on_say is None

    called(Handler, cannot)


def test_a_handler_falls_silent_for_an_operator() -> None:
    interrupted = []

    class Clearing(Handler):
        async def on_clear(self) -> None:
            await super().on_clear()
            interrupted.append(self.stream.unheard)

    async def clear(line: JoinedCall) -> None:
        await line.phone.wait_until(0.1)
        await line.stream.play(tone(1.0), rate=8000)
        assert line.stream.on_clear is not None
        await line.stream.on_clear()

    called(Clearing, clear)
    assert interrupted == [0.0]
