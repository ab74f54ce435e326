"""Whatever is raised, wherever below a handler: what ends, and what goes on."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from mediaserver import Handler, Stream, StreamEndedError
from mediaserver.containment import (
    ContainedError,
    Containment,
    already_told,
    contain_tasks,
    failed_below,
    leaves,
    only_ended,
    run_contained,
    tell_of_failures,
)
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.testing import joined, run_virtual


@pytest.fixture(scope="module", autouse=True)
def only_garbage_of_these_tests() -> None:
    """Have `gc.collect` pass over what earlier tests left: looking at it takes most of the time."""
    gc.collect()
    gc.freeze()


class PanicError(BaseException):
    """Not an `Exception`, like a panic of Rust's under pyo3."""


async def _await_a_cancelled_task() -> None:
    task = asyncio.ensure_future(asyncio.sleep(10))
    task.cancel()
    await task


RAISED: dict[str, Callable[[], BaseException]] = {
    "panic": lambda: PanicError("panicked"),
    "closing": GeneratorExit,
    "group": lambda: BaseExceptionGroup("several", [PanicError(), ValueError()]),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "cancellation": asyncio.CancelledError,
    "exception": lambda: ValueError("an ordinary one"),
}


def end_of(handler: Any, **answer: Any) -> Any:
    """Call a handler that fails, and return the phone's report and the server's errors."""

    async def call() -> Any:
        async with joined(handler, raises=False, **answer) as line:
            line.phone.press("1")
            await line.phone.wait_closed()
        gc.collect()
        assert line.runtime.counters.handler_errors == len(line.runtime.errors)
        assert not line.runtime.calls
        return line.phone.report(), line.runtime.errors

    return run_virtual(call(), within=100)


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("where", ["function", "group", "on_start", "on_dtmf", "on_audio"])
def test_whatever_a_handler_raises_ends_its_call(where: str, what: str) -> None:
    error = RAISED[what]()

    async def function(stream: Stream) -> None:
        raise error

    async def group(stream: Stream) -> None:
        async def child() -> None:
            raise error

        async with asyncio.TaskGroup() as children:
            await children.create_task(child())

    class Hooks(Handler):
        async def on_start(self) -> None:
            if where == "on_start":
                raise error

        async def on_dtmf(self, digit: str) -> None:
            if where == "on_dtmf":
                raise error

        async def on_audio(self, frame: Any) -> None:
            if where == "on_audio":
                raise error

    report, errors = end_of({"function": function, "group": group}.get(where, Hooks))
    assert report.close_code == 1011
    assert len(errors) == 1
    roots = {type(each.__cause__ or each) for each in leaves(errors[0])}
    assert type(error) in roots or type(next(leaves(error))) in roots


@pytest.mark.parametrize("what", ["panic", "closing", "group", "exit", "interrupt"])
def test_an_exit_in_a_task_that_nobody_awaits_ends_the_call_at_once(what: str) -> None:
    error = RAISED[what]()
    kept = []

    async def handler(stream: Stream) -> None:
        async def background() -> None:
            await asyncio.sleep(0.1)
            raise error

        kept.append(asyncio.create_task(background()))
        await asyncio.sleep(1000)

    report, errors = end_of(handler)
    assert report.close_code == 1011
    assert report.duration < 5
    assert errors[0].__cause__ is error


@pytest.mark.parametrize("by", ["task", "callback", "timer"])
def test_an_exception_that_nobody_catches_ends_the_call(by: str) -> None:
    async def handler(stream: Stream) -> None:
        async def background() -> None:
            raise ValueError("lost")

        def callback() -> None:
            raise ValueError("lost")

        loop = asyncio.get_running_loop()
        if by == "task":
            asyncio.create_task(background())  # noqa: RUF006
        elif by == "callback":
            loop.call_soon(callback)
        else:
            loop.call_later(0.1, callback)
        await asyncio.sleep(1000)

    report, errors = end_of(handler)
    assert report.close_code == 1011
    assert [str(each) for each in errors] == ["lost"]


def test_a_task_that_only_finds_the_stream_ended_is_no_error() -> None:
    async def handler(stream: Stream) -> None:
        async def background() -> None:
            async for _ in stream.audio():
                pass
            await stream.play(bytes(160))

        asyncio.create_task(background())  # noqa: RUF006
        await asyncio.sleep(0.5)

    report, errors = end_of(handler)
    assert (report.close_code, errors) == (1000, [])


def test_an_exception_that_the_handler_catches_is_its_own_affair() -> None:
    async def handler(stream: Stream) -> None:
        async def background() -> None:
            raise ValueError("caught")

        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        with pytest.raises(ValueError, match="caught"):
            await task

    report, errors = end_of(handler)
    assert (report.close_code, errors) == (1000, [])


def test_a_task_that_is_cancelled_before_it_begins_leaves_no_warning() -> None:
    async def handler(stream: Stream) -> None:
        asyncio.create_task(asyncio.sleep(1)).cancel()
        await asyncio.sleep(0.1)
        gc.collect()

    assert end_of(handler)[1] == []


@pytest.mark.parametrize("what", RAISED)
def test_what_on_answer_raises_is_counted_and_the_call_goes_on(what: str) -> None:
    class Preparing(Handler):
        async def on_answer(self, answer: AnswerRequest, shared: Any) -> None:
            raise RAISED[what]()

        async def on_start(self) -> None:
            await asyncio.sleep(1)
            self.stream.close()

    answer = AnswerRequest(call_id="x", caller="1", called="2", direction="inbound")
    report, errors = end_of(Preparing, answer=answer)
    assert (report.close_code, len(errors)) == (1000, 1)


def test_a_leaked_cancellation_says_what_it_may_come_from() -> None:
    async def handler(stream: Stream) -> None:
        await _await_a_cancelled_task()

    _, (error,) = end_of(handler)
    assert "awaited a task that was cancelled" in str(error)


def test_a_cancellation_by_somebody_passes() -> None:
    async def wait() -> None:
        with Containment():
            await asyncio.sleep(1000)

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())


def test_closing_a_contained_coroutine_raises_nothing() -> None:
    async def wait() -> None:
        with Containment():
            await asyncio.sleep(1000)

    coroutine = wait()

    async def main() -> None:
        waiting = asyncio.create_task(asyncio.sleep(0))
        coroutine.send(None)
        await waiting

    run_virtual(main())
    coroutine.close()


class _Nothing:
    def __aiter__(self) -> "_Nothing":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


def _ended_in_a_generator() -> Exception:
    nothing = _Nothing()

    async def pieces() -> AsyncIterator[bytes]:
        yield await anext(aiter(nothing))

    async def main() -> Exception:
        try:
            await anext(pieces())
        except RuntimeError as error:
            return error
        raise AssertionError

    return run_virtual(main())


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (StreamEndedError("over"), True),
        (StopAsyncIteration(), True),
        (_ended_in_a_generator(), True),
        (
            ExceptionGroup("", [StreamEndedError(), ExceptionGroup("", [StopAsyncIteration()])]),
            True,
        ),
        (ExceptionGroup("", [StreamEndedError(), ValueError()]), False),
        (BaseExceptionGroup("", [StreamEndedError(), SystemExit()]), False),
        (RuntimeError("over"), False),
        (ConnectionError("gone"), False),
    ],
)
def test_one_rule_says_whether_only_the_call_has_ended(error: BaseException, ended: bool) -> None:
    assert only_ended(error) is ended


@pytest.mark.parametrize("error", [StopAsyncIteration(), _ended_in_a_generator()])
def test_an_iteration_that_stops_while_the_stream_is_live_is_a_fault(error: Exception) -> None:
    assert not only_ended(error, ended=False)
    assert only_ended(StreamEndedError("over"), ended=False)


def test_what_was_told_once_is_not_told_again() -> None:
    told = ContainedError("x")
    assert not already_told(ExceptionGroup("", [told]))
    told.told = True
    assert already_told(ExceptionGroup("", [told]))
    assert not already_told(ExceptionGroup("", [told, ValueError()]))


# With the loops of the system.


class Owner:
    """What a callback of a call holds."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.stream = self

    def fail(self, error: Exception) -> None:
        self.failures.append(error)

    def leave(self) -> None:
        raise SystemExit(4)


loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@loops
@pytest.mark.parametrize("how", ["sys.exit", "a function"])
def test_a_callback_that_holds_nothing_of_its_call_is_known_by_sys_exit(
    loop: Callable[[], asyncio.AbstractEventLoop], how: str
) -> None:
    owner = Owner()
    unknown: list[Exception] = []
    leave = sys.exit

    async def handler() -> None:
        tell_of_failures(owner.fail, owner)
        running = asyncio.get_running_loop()
        if how == "sys.exit":
            running.call_soon(sys.exit, 4)
        else:
            running.call_later(0, lambda: sys.exit(4))

    async def main() -> None:
        contain_tasks(asyncio.get_running_loop(), unknown.append)
        await asyncio.create_task(handler())
        await asyncio.sleep(0.01)

    run_contained(main(), loop_factory=loop)
    assert [str(each) for each in owner.failures] == ["the handler called sys.exit(4)"]
    assert not unknown
    assert sys.exit is leave


@loops
@pytest.mark.parametrize("how", ["call_soon", "call_later"])
def test_an_exit_in_a_callback_ends_one_call_and_the_loop_goes_on(
    loop: Callable[[], asyncio.AbstractEventLoop], how: str
) -> None:
    owner = Owner()
    unknown: list[Exception] = []

    async def handler() -> None:
        tell_of_failures(owner.fail, owner)
        running = asyncio.get_running_loop()
        if how == "call_soon":
            running.call_soon(owner.leave)
        else:
            running.call_later(0, owner.leave)

    async def main() -> str:
        contain_tasks(asyncio.get_running_loop(), unknown.append)
        contain_tasks(asyncio.get_running_loop(), unknown.append)
        await asyncio.create_task(handler())
        await asyncio.sleep(0.01)
        return "went on"

    assert run_contained(main(), loop_factory=loop) == "went on"
    assert [str(each) for each in owner.failures] == ["the handler called sys.exit(4)"]
    assert not unknown


@loops
def test_an_exit_of_which_nothing_is_known_is_told_too(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    unknown: list[Exception] = []

    async def main() -> str:
        contain_tasks(asyncio.get_running_loop(), unknown.append)
        asyncio.get_running_loop().call_soon(sys.exit, 5)
        await asyncio.sleep(0.01)
        return "went on"

    assert run_contained(main(), loop_factory=loop) == "went on"
    assert [str(each) for each in unknown] == ["the handler called sys.exit(5)"]


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Handle SIGINT as Python does, whatever a shell or another test has left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@loops
@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_ends_a_loop_that_does_not_handle_it(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        contain_tasks(asyncio.get_running_loop(), lambda error: None)
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.sleep(100)

    with pytest.raises(KeyboardInterrupt):
        run_contained(main(), loop_factory=loop)


def test_the_loops_own_task_factory_and_exception_handler_stay_in_use() -> None:
    started: list[Any] = []
    lost: list[Any] = []

    def factory(loop: Any, coro: Any, **more: Any) -> Any:
        started.append(coro)
        return asyncio.Task(coro, loop=loop, **more)

    def fail() -> None:
        raise ValueError("of nobody")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        loop.set_exception_handler(lambda _, context: lost.append(context["exception"]))
        contain_tasks(loop, lambda error: None)
        await asyncio.create_task(asyncio.sleep(0))
        loop.call_soon(fail)
        await asyncio.sleep(0)

    run_virtual(main())
    assert started[0].__name__ == "sleep"
    assert [str(each) for each in lost] == ["of nobody"]


def test_an_exit_outside_of_a_loop_belongs_to_nobody() -> None:
    assert failed_below(SystemExit()) is None
