import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, AudioFormat
from mediaserver.handler import Handler
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport, Misbehaviour
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from mediaserver.testing import CallFailed, joined, run_virtual


async def listen(stream: Stream) -> None:
    async for _ in stream.audio():
        pass


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_call_has_begun() -> None:
    async def main() -> tuple[bool, str, str, float]:
        async with joined(listen) as line:
            return line.phone.started, line.stream.call_id, line.phone.identity.call_id, now()

    started, server_side, phone_side, time = run_virtual(main())
    assert started
    assert server_side == phone_side
    assert time == 0.0


def test_on_leaving_the_caller_hangs_up_and_the_handler_returns() -> None:
    async def main() -> tuple[list[str], bool, int]:
        async def handler(stream: Stream) -> None:
            await listen(stream)
            returned.append(stream.end_reason)

        returned: list[Any] = []
        async with joined(handler) as line:
            assert not returned
        return returned, line.phone.ended, len(line.runtime.calls)

    returned, ended, calls = run_virtual(main())
    assert returned == ["Plivo closed the socket (1000)"]
    assert ended
    assert calls == 0


def test_a_minute_of_echo_is_heard() -> None:
    async def main() -> CallReport:
        async def echo(stream: Stream) -> None:
            async for frame in stream.audio():
                await stream.play(frame)

        said = (np.arange(8000) % 200 * 50).astype(np.int16)
        async with joined(echo, audio=said) as line:
            await line.phone.wait_until(60.0)
            return line.phone.report()

    report = run_virtual(main())
    assert report.recording is not None
    assert report.first_audio is not None
    caller, agent = report.recording.T
    late = round(report.first_audio * 8000)
    assert late <= 0.04 * 8000
    assert report.gaps == []
    assert report.audio_played == pytest.approx(60, abs=0.05)
    loud = np.flatnonzero(agent)[0] - np.flatnonzero(caller)[0]
    assert np.array_equal(agent[loud : loud + 8000], caller[:8000])


def test_every_run_is_the_same() -> None:
    async def main() -> list[tuple[float, str]]:
        async def echo(stream: Stream) -> None:
            async for frame in stream.audio():
                await stream.play(frame)

        async with joined(echo) as line:
            await line.phone.wait_until(5.0)
            return [(entry.time, entry.kind) for entry in line.phone.events]

    assert run_virtual(main()) == run_virtual(main())


def test_the_phone_takes_its_arguments() -> None:
    async def main() -> tuple[AudioFormat, dict[str, str]]:
        async with joined(listen, format=L16_16K, extra_headers={"a": "b"}) as line:
            return line.stream.format, line.stream.extra_headers

    assert run_virtual(main()) == (L16_16K, {"a": "b"})


def test_the_server_takes_its_settings() -> None:
    async def main() -> float:
        async with joined(listen, settings=Settings(max_call_seconds=3)) as line:
            await line.phone.wait_closed()
            return line.phone.report().duration

    assert run_virtual(main()) == pytest.approx(3.0, abs=1.1)


def test_the_path_may_have_a_query() -> None:
    async def main() -> tuple[str, dict[str, str]]:
        async with joined(Routes(Route(listen, "/a")), path="/a?b=c") as line:
            return line.stream.path, dict(line.stream.query)

    assert run_virtual(main()) == ("/a", {"b": "c"})


def test_lifespans_are_opened_and_closed() -> None:
    async def main() -> list[str]:
        @asynccontextmanager
        async def lifespan() -> AsyncIterator[Any]:
            notes.append("open")
            yield
            notes.append("closed")

        notes = []
        async with joined(Routes(Route(listen), lifespan=lifespan)):
            notes.append("call")
        return notes

    assert run_virtual(main()) == ["open", "call", "closed"]


def test_the_call_can_be_made_later() -> None:
    async def main() -> tuple[bool, CallReport]:
        async with joined(listen, start=False) as line:
            before = line.phone.started
            with pytest.raises(LookupError, match="there is no live call"):
                _ = line.call
            await asyncio.sleep(2.0)
            report = await line.phone.call(silence=1.0)
            return before, report

    before, report = run_virtual(main())
    assert not before
    assert report.duration == pytest.approx(1.0, abs=0.1)


def test_a_call_that_is_never_made_leaves_nothing_behind() -> None:
    async def main() -> int:
        async with joined(listen, start=False) as line:
            pass
        return len(line.runtime.calls)

    assert run_virtual(main()) == 0


def test_a_call_to_nowhere_fails() -> None:
    async def main() -> None:
        async with joined(listen, path="/nowhere"):
            pass

    with pytest.raises(CallFailed, match="404"):
        run_virtual(main())


def test_there_is_no_stream_before_start() -> None:
    async def main() -> float:
        async with joined(listen, misbehaviour=Misbehaviour(no_start=True)) as line:
            await asyncio.sleep(0.1)
            with pytest.raises(LookupError, match="has not started yet"):
                _ = line.stream
            await line.phone.wait_closed()
            return now()

    assert run_virtual(main()) == pytest.approx(10.0, abs=1.1)


def test_a_handler_that_returns_at_once_is_no_trouble() -> None:
    async def main() -> Any:
        async def brief(stream: Stream) -> None:
            pass

        async with joined(brief) as line:
            await line.phone.wait_closed()
            return line.phone.report().close_code

    assert run_virtual(main()) == 1000


def test_hanging_up_twice_is_no_trouble() -> None:
    async def main() -> bool:
        async with joined(listen) as line:
            await line.hang_up()
            await line.hang_up()
        return line.phone.ended

    assert run_virtual(main())


def test_hanging_up_waits_for_the_handler() -> None:
    async def main() -> float:
        async def slow(stream: Stream) -> None:
            await listen(stream)
            await asyncio.sleep(1.5)

        async with joined(slow) as line:
            await line.hang_up()
            return now()

    assert run_virtual(main()) == pytest.approx(1.5, abs=0.05)


def test_a_handler_that_never_returns_is_named_with_the_line_it_waits_at() -> None:
    async def stubborn(stream: Stream) -> None:
        for _ in range(30):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def main() -> None:
        async with joined(stubborn, within=12):
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError, match=r"within 12 s .*stubborn' waits .* test_joined.py:\d+"):
        run_virtual(main())


@pytest.mark.parametrize(("opens", "undone"), [(True, "shut down"), (False, "started up")])
def test_a_lifespan_that_never_ends_is_an_error(opens: bool, undone: str) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if opens:
            yield
        await asyncio.Event().wait()

    async def main() -> None:
        async with joined(Routes(Route(listen), lifespan=lifespan)):
            pass

    with pytest.raises(TimeoutError, match=f"the server has not {undone} within 30 s"):
        run_virtual(main())


def test_an_exception_in_the_test_comes_out() -> None:
    async def main() -> None:
        async with joined(listen):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_virtual(main())


def test_handler_classes_can_be_called() -> None:
    async def main() -> float:
        class Greeter(Handler):
            async def on_start(self) -> None:
                playback = await self.stream.play(b"\x00" * 8000)
                await playback.heard()
                self.stream.close()

        async with joined(Greeter) as line:
            await line.phone.wait_closed()
            return line.phone.report().audio_played

    assert run_virtual(main()) == 1.0


async def test_real_time_works_too() -> None:
    async with joined(listen) as line:
        assert line.stream.call_id == line.phone.identity.call_id


def test_an_exception_in_the_handler_comes_out() -> None:
    async def handler(stream: Stream) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with joined(handler) as line:
            await line.phone.wait_closed()

    with pytest.raises(ZeroDivisionError):
        run_virtual(main())


def test_an_exception_in_the_handler_may_be_kept() -> None:
    async def handler(stream: Stream) -> None:
        raise ZeroDivisionError

    async def main() -> Any:
        async with joined(handler, raises=False) as line:
            await line.phone.wait_closed()
        return line.runtime.errors

    assert [type(error) for error in run_virtual(main())] == [ZeroDivisionError]


def test_a_handler_knows_who_calls_whom() -> None:
    async def main() -> Any:
        async def listen(stream: Stream) -> None:
            async for _ in stream.audio():
                pass

        async with joined(listen, path="/stream?a=1", caller="+14155550100", called="222") as line:
            return line.stream.caller, line.stream.called, dict(line.stream.query)

    assert run_virtual(main()) == ("+14155550100", "222", {"a": "1"})
