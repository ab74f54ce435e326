"""Whatever an application raises ends its own call, and nothing else.

asyncio re-raises ``SystemExit`` and ``KeyboardInterrupt`` out of the event loop, which would end
all calls of the process; and code that expects an ``Exception`` misses everything else that can be
raised. `contain_tasks` therefore contains the tasks and callbacks below a handler, under any host,
and `run_contained` contains what they raise out of a loop that this project runs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, NoReturn, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, WeakMethod

from mediaserver.call import StreamEndedError


T = TypeVar("T")

Fail: TypeAlias = Callable[[Exception], object]
"""Takes an exception that nobody below a handler has caught, and ends the call."""

_fail: ContextVar[Fail | None] = ContextVar("fail", default=None)

_owned: WeakKeyDictionary[object, WeakMethod[Any]] = WeakKeyDictionary()

_OWNER = "_mediaserver_fail"
"""Attribute of a task, and of an exit: the `Fail` of its call."""


class ContainedError(RuntimeError):
    """A handler raised something that is not an `Exception`; the cause is what it raised."""

    told = False
    """Whether the call has been ended because of it."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the exceptions of a group, and of the groups in it; or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def only_ended(error: BaseException, *, ended: bool = True) -> bool:
    """Tell whether an exception, or each in its group, only reports the end of the stream.

    At the end, `Stream.play` raises `StreamEndedError`, and ``anext`` of a reader raises
    ``StopAsyncIteration``, which Python turns into a ``RuntimeError`` in an async generator.

    Args:
        error: what was raised.
        ended: whether the stream has ended. Before that, ``anext`` of something else has raised.

    """
    return all(
        isinstance(each, StreamEndedError)
        or (ended and isinstance(each, StopAsyncIteration))
        or (ended and type(each) is RuntimeError and isinstance(each.__cause__, StopAsyncIteration))
        for each in leaves(error)
    )


def already_told(error: BaseException) -> bool:
    """Tell whether the call has been ended already because of each exception of a group."""
    return all(isinstance(each, ContainedError) and each.told for each in leaves(error))


class Containment:
    """Turns what is not an `Exception` into a `ContainedError`, around what a handler does.

    A cancellation passes if somebody has cancelled the task. If nobody has, the code itself raised
    ``CancelledError``, or awaited a task that was cancelled.
    """

    # Not a generator: its frame and what it was thrown would refer to each other, and so keep the
    # call.
    __slots__ = ("_task",)

    def __enter__(self) -> None:
        self._task = _current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        # The traceback must not keep the task: asyncio reports lost exceptions when it goes.
        task, self._task = self._task, None
        if error is None or isinstance(error, Exception):
            return
        if isinstance(error, asyncio.CancelledError):
            if task is not None and not task.cancelling():
                del task
                raise ContainedError(
                    "the handler raised CancelledError, though nobody cancelled it: "
                    "it may have awaited a task that was cancelled"
                ) from error
        # A coroutine that is being closed gets its GeneratorExit outside of its task.
        elif not isinstance(error, GeneratorExit) or _current_task() is task:
            del task
            raise _contain(error) from error


def tell_of_failures(fail: Fail, owner: object = None) -> None:
    """Have `fail` told what the tasks below the running one raise, from now on.

    It is told of an exit at once, and of an `Exception` when asyncio finds that nobody has caught
    it.

    Args:
        fail: ends the call; a method of the call's, if `owner` is given.
        owner: the call's `Stream`, by which `failed_below` knows the call.

    """
    _fail.set(fail)
    if owner is not None:
        _owned[owner] = WeakMethod(fail)


def contain_tasks(loop: asyncio.AbstractEventLoop, fail: Fail) -> None:
    """Contain what the tasks and callbacks below a handler raise. Repeating it does nothing.

    What a callback raises to exit the process leaves the running loop before it can be caught; only
    `run_contained` contains that.

    Args:
        loop: the calls' event loop. Its task factory and exception handler stay in use.
        fail: told of an exit in a callback of which it is not known whose call it belongs to.

    """
    previous: Any = loop.get_task_factory()
    if not isinstance(previous, _TaskFactory):
        loop.set_task_factory(_TaskFactory(previous, fail))
        loop.set_exception_handler(_ExceptionHandler(loop.get_exception_handler()))


def run_contained(
    main: Coroutine[Any, Any, T],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run a server, as `asyncio.run` does, and resume the loop where a callback has left it.

    An interrupt from the keyboard still ends it, unless the server handles the signal itself.
    """
    with _exits_marked(), asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                factory: Any = loop.get_task_factory()
                contains = isinstance(factory, _TaskFactory) and not task.done()
                if not contains or (isinstance(error, KeyboardInterrupt) and _may_be_a_signal()):
                    raise
                (failed_below(error) or factory.fail)(_contain(error))


@contextmanager
def _exits_marked() -> Iterator[None]:
    """Have ``sys.exit`` note whose call it is called in, which uvloop does not keep."""
    leave = sys.exit

    def marked(status: Any = None, /) -> NoReturn:
        error = SystemExit(status)
        setattr(error, _OWNER, _fail.get())
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame, and to all the call's below it

    sys.exit = marked
    try:
        yield
    finally:
        sys.exit = leave


def _may_be_a_signal() -> bool:
    handles = signal.getsignal(signal.SIGINT)
    return threading.current_thread() is threading.main_thread() and (
        handles is signal.default_int_handler
    )


class _TaskFactory:
    """Starts tasks; those below a handler are contained.

    Args:
        previous: the loop's task factory, if it has one.
        fail: as in `contain_tasks`.

    """

    def __init__(self, previous: Callable[..., Any] | None, fail: Fail) -> None:
        self._previous = previous
        self.fail = fail

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **more: Any,
    ) -> asyncio.Future[Any]:
        context: Context | None = more.get("context")
        fail = _fail.get() if context is None else context.get(_fail)
        if fail is None or not isinstance(coro, Coroutine):
            return self._start(loop, coro, more)
        work: Any = _contained(coro, fail)
        # For logs and stacks.
        work.__qualname__ = getattr(coro, "__qualname__", work.__qualname__)
        task = self._start(loop, work, more)
        setattr(task, _OWNER, fail)
        # A task that is cancelled before it begins never runs its coroutine.
        task.add_done_callback(lambda _: coro.close())
        return task

    def _start(
        self, loop: asyncio.AbstractEventLoop, coro: Any, more: dict[str, Any]
    ) -> asyncio.Future[Any]:
        if self._previous is not None:
            task: asyncio.Future[Any] = self._previous(loop, coro, **more)
            return task
        return asyncio.Task(coro, loop=loop, **more)


class _ExceptionHandler:
    """Ends a call in which a task or a callback has failed, and nobody has caught it.

    Args:
        previous: the loop's exception handler, if it has one.

    """

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self._previous = previous

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # The task stands under either name, by who implements it.
        fail = getattr(context.get("future") or context.get("task"), _OWNER, None)
        if fail is None and (handle := context.get("handle")) is not None:
            # uvloop calls this in the context of the callback, asyncio does not.
            within: Context | None = getattr(handle, "_context", None)
            fail = _fail.get() if within is None else within.get(_fail)
        if fail is not None and isinstance(error, Exception):
            _tell(fail, error)
        elif self._previous is not None:
            self._previous(loop, context)
        else:
            loop.default_exception_handler(context)


def failed_below(error: BaseException) -> Fail | None:
    """Return what to tell of an exit that a callback raised out of the loop; None if not known.

    ``sys.exit`` has noted it. Otherwise, asyncio's loop leaves the callback's context in the
    traceback. uvloop leaves nothing there, so that the call is known only if the callback holds the
    call's owner, or something that has it as ``stream``.
    """
    noted: Fail | None = getattr(error, _OWNER, None)
    if noted is not None:
        return noted
    trace = error.__traceback__
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            if isinstance(value, asyncio.Handle):
                within: Context = getattr(value, "_context")  # noqa: B009 - private in typeshed
                return within.get(_fail)
            for held in (value, getattr(value, "__dict__", {}).get("stream")):
                for owner, fail in tuple(_owned.items()):
                    if held is owner:
                        return fail()
        trace = trace.tb_next
    return None


async def _contained(coro: Coroutine[Any, Any, Any], fail: Fail) -> Any:
    task = _current_task()
    try:
        return await coro
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        if isinstance(error, GeneratorExit) and _current_task() is not task:
            raise  # the coroutine is being closed
        failure = _contain(error)
        _tell(fail, failure)
        try:
            raise failure from error
        finally:
            del failure  # as in `_exits_marked`
    finally:
        del task  # as in `Containment`


def _contain(error: BaseException) -> ContainedError:
    did = (
        f"called sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"raised {error!r}"
    )
    failure = ContainedError(f"the handler {did}")
    failure.__cause__ = error
    return failure


def _tell(fail: Fail, error: Exception) -> None:
    if only_ended(error) or already_told(error):
        return
    if isinstance(error, ContainedError):
        error.told = True
    fail(error)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
