import asyncio
import functools
import sys
import types
from collections import Counter
from contextlib import asynccontextmanager

import numpy as np
import pytest
import structlog

from mediaserver.agents import Echo, Parrot
from mediaserver.call import StreamStatus, Turn
from mediaserver.handler import Handler, HandlerError, check_handler
from mediaserver.protocol import StreamError
from mediaserver.routes import Route, Routes, load_name
from mediaserver.sandbox import Misbehaviour
from mediaserver.settings import Settings
from mediaserver.testing import joined, run_virtual


def tone(seconds):
    times = np.arange(round(seconds * 8000)) / 8000
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def now():
    return asyncio.get_running_loop().time()


async def nothing(stream):
    async for _ in stream.audio():
        pass


def called(handler, test, **how):
    """Run `test` on the line of a call to `handler`."""

    async def main():
        async with joined(handler, **how) as line:
            await test(line)
        return line

    return run_virtual(main())


async def until_closed(line):
    await line.phone.wait_closed()


def until(seconds):
    async def wait(line):
        await line.phone.wait_until(seconds)

    return wait


# The primitive.


def test_a_handler_that_returns_closes_the_stream():
    async def handler(stream):
        await asyncio.sleep(1)

    report = called(handler, until_closed).phone.report()
    assert report.ended_by == "server"
    assert report.close_code == 1000
    assert report.close_reason == "the handler returned"


def test_a_handler_may_return_after_its_call():
    ended = []

    async def handler(stream):
        async for _ in stream.audio():
            pass
        await asyncio.sleep(1)
        ended.append(now())

    called(handler, until(1.0))
    assert ended == [pytest.approx(2.0, abs=0.1)]


def test_an_exception_ends_the_call_and_is_counted():
    async def handler(stream):
        await asyncio.sleep(0.5)
        raise ValueError("broken")

    line = called(handler, until_closed, raises=False)
    assert line.phone.report().close_code == 1011
    assert line.runtime.counters.handler_errors == 1


def test_an_exception_is_logged_with_the_ids_of_its_call():
    async def handler(stream):
        raise ValueError("broken")

    with structlog.testing.capture_logs() as logs:
        line = called(handler, until_closed, raises=False)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["call"] == line.phone.identity.call_id
    assert entry["stream"] == line.phone.identity.stream_id
    assert str(entry["exc_info"]) == "broken"


def test_an_exception_touches_no_other_call():
    async def main():
        async def handler(stream):
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


def test_playing_to_a_call_that_has_ended_is_no_error_of_the_handlers():
    async def handler(stream):
        while True:
            await stream.play(tone(0.1))

    line = called(handler, until(1.0))
    assert line.runtime.counters.handler_errors == 0


def test_a_handler_that_outlives_its_call_is_cancelled_after_the_grace():
    cancelled = []

    async def handler(stream):
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

    def __init__(self, notes):
        self.notes = notes

    def note(self, *what):
        self.notes.append((*what, round(now(), 2)))

    async def on_start(self):
        self.note("start")

    async def on_dtmf(self, digit):
        self.note("dtmf", digit)

    async def on_checkpoint(self, checkpoint):
        self.note("checkpoint", checkpoint.name, checkpoint.played)

    async def on_interrupt(self, interrupt):
        self.note("interrupt", interrupt.unheard)

    async def on_stop(self, reason):
        self.note("stop")


def noted(handler, test, **how):
    notes = []
    called(Routes(Route(handler, settings={"notes": notes})), test, **how)
    return notes


def test_hooks_run_from_start_to_stop():
    async def test(line):
        await line.phone.wait_until(0.1)
        line.phone.press("7")
        await line.phone.wait_until(0.2)

    start, dtmf, stop = noted(Noting, test)
    assert start[0] == "start"
    assert dtmf[:2] == ("dtmf", "7")
    assert stop[0] == "stop"


def test_the_hooks_of_a_handler_without_any_do_nothing():
    async def test(line):
        line.phone.press("1")
        await line.stream.play(tone(0.1))
        line.stream.checkpoint("end")
        await line.phone.wait_until(0.5)
        line.stream.interrupt()

    line = called(Handler, test, misbehaviour=Misbehaviour(no_cleared=True))
    assert line.runtime.counters.handler_errors == 0


def test_audio_of_a_handler_without_on_audio_is_not_counted_as_dropped():
    line = called(Handler, until(5.0))
    assert line.runtime.ended_totals.frames_in > 200
    assert line.runtime.ended_totals.frames_dropped == 0


def test_a_handler_without_on_audio_may_read_audio_itself():
    class Reading(Handler):
        async def on_start(self):
            async for _ in self.stream.audio():
                read["frames"] += 1

    read = Counter()
    called(Reading, until(1.0))
    assert read["frames"] >= 48


def test_on_audio_takes_one_frame_at_a_time():
    class Slow(Handler):
        running = 0

        async def on_audio(self, frame):
            self.running += 1
            most.append(self.running)
            await asyncio.sleep(0.03)
            self.running -= 1

    most = []
    called(Slow, until(1.0))
    assert set(most) == {1}


def test_a_checkpoint_reaches_its_hook():
    async def test(line):
        await line.stream.play(tone(0.2))
        line.stream.checkpoint("end")
        await line.phone.wait_until(0.5)

    assert ("checkpoint", "end", True) in [note[:3] for note in noted(Noting, test)]


def test_an_interruption_reaches_its_hook():
    async def test(line):
        await line.stream.play(tone(2))
        await line.phone.wait_until(0.5)
        line.stream.interrupt()
        await line.phone.wait_until(0.6)

    (note,) = [note for note in noted(Noting, test) if note[0] == "interrupt"]
    assert note[1] == pytest.approx(1.5, abs=0.05)


def test_an_error_of_plivos_reaches_its_hook():
    class Failing(Handler):
        async def on_error(self, error):
            errors.append(error)

    async def test(line):
        line.call.session.receive('{"event":"playFailed","reason":"too loud"}')

    errors = []
    called(Failing, test)
    called(Handler, test)
    assert errors == [StreamError("playFailed", "too loud")]


def test_a_status_callback_reaches_its_hook():
    class Informed(Handler):
        async def on_status(self, status):
            told.append(status)

    async def test(line):
        line.call.session.report(status)

    told = []
    status = StreamStatus(kind="degraded", error="30 % full")
    called(Informed, test)
    called(Handler, test)
    assert told == [status]


def test_hooks_do_not_hold_each_other_up():
    """A start that waits to be heard, audio that waits for room, and a key that waits for ever."""

    class Busy(Noting):
        async def on_start(self):
            playback = await self.stream.play(tone(60))
            await playback.heard()

        async def on_audio(self, frame):
            await self.stream.play(tone(60))
            await self.stream.play(tone(60))

        async def on_dtmf(self, digit):
            self.note("dtmf", digit)
            await asyncio.Event().wait()

    async def test(line):
        await line.phone.wait_until(1.0)
        line.phone.press("1")
        await line.phone.wait_until(2.0)
        line.phone.press("2")
        await line.phone.wait_until(3.0)

    first, second, stop = noted(Busy, test, settings=Settings(grace=1.0))
    assert first == ("dtmf", "1", pytest.approx(1.0, abs=0.03))
    assert second == ("dtmf", "2", pytest.approx(2.0, abs=0.03))
    assert stop == ("stop", pytest.approx(3.0, abs=0.05))


def test_on_start_may_finish_after_the_call():
    class Saving(Noting):
        async def on_start(self):
            playback = await self.stream.play(tone(3.0))
            heard = await playback.heard()
            await asyncio.sleep(0.5)
            self.note(f"{heard.interrupted} {heard.seconds:.1f}")

    notes = noted(Saving, until(1.0))
    assert ("True 1.0", pytest.approx(1.5, abs=0.05)) in notes


def test_on_start_is_cancelled_after_the_grace():
    class Waiting(Noting):
        async def on_start(self):
            try:
                await asyncio.sleep(3600)
            finally:
                self.note("cancelled")

    notes = noted(Waiting, until(1.0))
    assert ("cancelled", pytest.approx(1.0 + 5.0, abs=1.1)) in notes


def test_on_stop_comes_after_all_audio():
    class Slow(Noting):
        async def on_audio(self, frame):
            await asyncio.sleep(0.03)
            self.note("audio")

    notes = [what for what, _ in noted(Slow, until(1.0))]
    assert notes.count("audio") > 45
    assert notes[-1] == "stop"


@pytest.mark.parametrize("listens", [True, False])
def test_on_end_comes_after_all_audio_and_before_on_stop(listens):
    async def on_end(self):
        self.note("end")
        await asyncio.sleep(0.5)
        self.note("ended")

    async def on_audio(self, frame):
        self.note("audio")

    hooks = {"on_end": on_end, **({"on_audio": on_audio} if listens else {})}
    notes = [what for what, _ in noted(type("Ending", (Noting,), hooks), until(1.0))]
    assert notes[-3:] == ["end", "ended", "stop"]
    assert ("audio" in notes) is listens


def test_hooks_that_hang_do_not_pile_up():
    running = []

    class Hanging(Handler):
        async def on_dtmf(self, digit):
            running.append(digit)
            await asyncio.sleep(3600)

    async def test(line):
        for _ in range(3):
            line.phone.press("1" * 100)
        await line.phone.wait_until(60.0)

    called(Hanging, test)
    assert len(running) == 100


@pytest.mark.parametrize("hook", ["on_start", "on_dtmf", "function", "say"])
def test_sys_exit_in_a_handler_ends_its_call_alone(hook):
    async def leaving():
        sys.exit(3)
        yield

    class Leaving(Handler):
        async def on_start(self):
            if hook == "on_start":
                sys.exit(3)
            if hook == "say":
                await self.stream.say(leaving())

        async def on_dtmf(self, digit):
            sys.exit(3)

    async def function(stream):
        sys.exit(3)

    async def test(line):
        line.phone.press("1")
        await line.phone.wait_closed()

    line = called(function if hook == "function" else Leaving, test, raises=False)
    assert line.phone.report().close_code == 1011
    (error,) = line.runtime.errors
    assert str(error) == "the handler called sys.exit(3)"


def test_reading_past_the_end_is_no_error():
    async def handler(stream):
        controls = stream.controls()
        while True:
            await anext(controls)

    line = called(handler, until(0.5))
    assert line.runtime.counters.handler_errors == 0


def test_a_hook_that_fails_ends_the_call():
    class Failing(Handler):
        async def on_dtmf(self, digit):
            raise ValueError("broken")

    async def test(line):
        line.phone.press("1")
        await line.phone.wait_closed()

    line = called(Failing, test, raises=False)
    assert line.phone.report().close_code == 1011
    assert line.runtime.counters.handler_errors == 1


def test_the_exception_of_a_hook_is_logged_as_it_was_raised():
    class Failing(Handler):
        async def on_start(self):
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fail())

        async def fail(self):
            raise ValueError("broken")

    with structlog.testing.capture_logs() as logs:
        called(Failing, until_closed, raises=False)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert isinstance(entry["exc_info"], ValueError)


@pytest.mark.parametrize("hook", ["on_start", "on_stop"])
def test_a_hook_that_plays_to_an_ended_call_is_no_error(hook):
    async def playing(self, *_):
        while True:
            await self.stream.play(tone(1))

    line = called(type("Playing", (Handler,), {hook: playing}), until(1.0))
    assert line.runtime.counters.handler_errors == 0


def test_on_stop_that_plays_leaves_other_hooks_their_time():
    class Finishing(Noting):
        async def on_dtmf(self, digit):
            await asyncio.sleep(1.0)
            self.note("saved")

        async def on_stop(self, reason):
            await self.stream.play(tone(1))

    async def test(line):
        line.phone.press("1")
        await line.phone.wait_until(0.5)

    assert noted(Finishing, test)[-1] == ("saved", pytest.approx(1.0, abs=0.05))


def test_each_call_has_an_instance_of_its_own():
    class Counting(Handler):
        def __init__(self):
            instances.append(self)

    async def main():
        async with joined(Counting), joined(Counting):
            pass

    instances = []
    run_virtual(main())
    assert len(instances) == 2
    assert instances[0].stream is not instances[1].stream


def test_a_handler_may_be_run_by_another():
    class Brief(Handler):
        async def on_start(self):
            started.append(self.stream.call_id)

    async def handler(stream):
        await Brief()(stream)

    started = []
    assert called(handler, until(0.5)).phone.identity.call_id == started[0]


# Routes.


def test_a_path_begins_with_a_slash():
    with pytest.raises(HandlerError, match="must begin with a slash: 'stream' does not"):
        Route(nothing, path="stream")


def test_a_route_is_named_after_its_handler():
    assert Route(nothing).name == "nothing"
    assert Route(Parrot).name == "Parrot"


def test_a_route_of_a_callable_object_is_named_after_its_class():
    class Greeter:
        async def __call__(self, stream):
            pass

    assert Route(Greeter()).name.endswith("Greeter")


def test_a_routes_settings_go_to_the_handler():
    async def handler(stream, *, greeting):
        greetings.append(greeting)

    greetings = []
    called(Routes(Route(handler, settings={"greeting": "hello"})), until_closed)
    assert greetings == ["hello"]


def test_there_must_be_a_route():
    with pytest.raises(HandlerError, match="at least one route"):
        Routes()


async def sales(stream):
    pass


async def support(stream):
    pass


ROUTES = Routes(
    Route(nothing),
    Route(sales, "/sales"),
    Route(support, number="+1 (415) 555-0100"),
)


@pytest.mark.parametrize(
    ("path", "number", "handler"),
    [
        ("/stream", None, nothing),
        ("/stream/", None, nothing),
        ("/stream", "", nothing),
        ("/stream", "+14155550199", nothing),
        ("/stream", "14155550100", support),
        ("/stream", "+1-415-555-0100", support),
        ("/sales", None, sales),
        ("/sales", "14155550100", sales),
    ],
)
def test_routes_match_by_path_and_number(path, number, handler):
    assert ROUTES.match(path, number).handler is handler


@pytest.mark.parametrize("path", ["/", "/other", "/stream/more", ""])
def test_other_paths_match_nothing(path):
    assert ROUTES.match(path) is None


def test_the_root_path_is_a_path():
    assert Routes(Route(nothing, "/")).match("").handler is nothing


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Route(sales), Route(support, "/stream/")),
        (Route(sales, number="+1 415"), Route(support, number="1415")),
    ],
)
def test_two_routes_for_the_same_calls_are_refused(first, second):
    with pytest.raises(HandlerError, match="two routes have the path /stream"):
        Routes(first, second)


def test_a_number_without_digits_is_refused():
    with pytest.raises(HandlerError, match="'sales' has none"):
        Route(sales, number="sales")


def test_a_hook_that_is_not_async_is_refused():
    class Late(Handler):
        def on_dtmf(self, digit):
            pass

    with pytest.raises(HandlerError, match=r"Late\.on_dtmf is not async"):
        Route(Late)


def test_a_route_with_a_number_alone_takes_no_other_call():
    assert Routes(Route(support, number="14155550100")).match("/stream", "1") is None


@pytest.mark.parametrize(
    ("number", "handler"), [("+14155550100", support), ("1", nothing), (None, nothing)]
)
def test_a_number_finds_its_route_whatever_the_path(number, handler):
    assert ROUTES.for_number(number).handler is handler


def test_a_number_may_find_no_route():
    assert Routes(Route(support, number="14155550100")).for_number("1") is None


def test_paths_are_listed_once():
    assert ROUTES.paths == ["/stream", "/sales"]


def test_calls_go_where_their_path_says():
    async def main():
        async def on_sales(stream):
            taken.append(stream.path)

        taken = []
        async with joined(Routes(Route(nothing), Route(on_sales, "/sales")), path="/sales") as line:
            await line.phone.wait_closed()
        return taken

    assert run_virtual(main()) == ["/sales"]


# Names on a command line.


def test_a_spec_names_a_handler():
    (route,) = Routes.load("mediaserver.agents:Echo").routes
    assert (route.handler, route.path, route.number) == (Echo, "/stream", None)


def test_a_spec_may_name_a_path():
    (route,) = Routes.load("/echo=mediaserver.agents:Echo").routes
    assert route.path == "/echo"


def test_a_spec_may_name_a_number():
    (route,) = Routes.load("+14155550100=mediaserver.agents:Echo", path="/media").routes
    assert (route.path, route.number) == ("/media", "+14155550100")


def test_specs_add_up():
    routes = Routes.load("/a=mediaserver.agents:Echo", "mediaserver.agents:Parrot")
    assert [(route.handler, route.path) for route in routes.routes] == [
        (Echo, "/a"),
        (Parrot, "/stream"),
    ]


@pytest.fixture
def module(monkeypatch):
    module = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def test_a_spec_may_name_routes(module):
    module.routes = Routes(Route(sales, "/sales"), Route(support, "/support"))
    assert Routes.load("shop:routes").paths == ["/sales", "/support"]


def test_the_lifespan_of_named_routes_is_kept(module):
    @asynccontextmanager
    async def lifespan():
        yield "pool"

    async def main():
        async with routes.lifespan():
            return routes.shared(routes.routes[0])

    module.routes = Routes(Route(sales), lifespan=lifespan)
    routes = Routes.load("shop:routes")
    assert run_virtual(main()) == "pool"


def test_named_routes_have_their_own_paths(module):
    module.routes = Routes(Route(sales))
    with pytest.raises(HandlerError, match="shop:routes is a Routes object and has its own paths"):
        Routes.load("/other=shop:routes")


def test_a_condition_is_a_path_or_a_number():
    with pytest.raises(HandlerError, match=r"'sales' is neither a path \(/sales\) nor a number"):
        Routes.load("sales=mediaserver.agents:Echo")


@pytest.mark.parametrize("name", ["mediaserver.agents", "mediaserver.agents:", ":Echo", ""])
def test_a_name_has_a_module_and_an_attribute(name):
    with pytest.raises(HandlerError, match=f"named package.module:Name, not '{name}'"):
        load_name(name)


def test_an_attribute_may_be_nested(module):
    class Shop:
        sell = sales

    module.Shop = Shop
    assert load_name("shop:Shop.sell") is sales


@pytest.mark.parametrize(
    ("name", "missing"), [("nosuch:Echo", "nosuch"), ("mediaserver.nosuch:X", "mediaserver.nosuch")]
)
def test_a_module_that_does_not_exist_is_named(name, missing):
    with pytest.raises(HandlerError, match=f"there is no module '{missing}'.*check the spelling"):
        load_name(name)


def test_a_module_that_imports_what_does_not_exist_shows_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "needy.py").write_text("import nosuchdependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nosuchdependency"):
        load_name("needy:Handler")


def test_a_near_miss_is_suggested():
    with pytest.raises(HandlerError, match="has no 'Ecko'; did you mean 'Echo'"):
        load_name("mediaserver.agents:Ecko")


def test_a_far_miss_is_not():
    with pytest.raises(HandlerError, match=r"has no 'Quux'$"):
        load_name("mediaserver.agents:Quux")


# What is a handler.


class Greeter:
    async def __call__(self, stream):
        pass

    async def greet(self, stream):
        pass


@pytest.mark.parametrize(
    "handler",
    [nothing, Parrot, functools.partial(nothing), Greeter(), Greeter().greet],
    ids=["function", "class", "partial", "object", "method"],
)
def test_async_callables_and_handler_classes_are_handlers(handler):
    check_handler(handler)


class NoHandler:
    pass


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (3, "3 is not a handler: give an async function"),
        (NoHandler, "the class NoHandler is not a subclass of mediaserver.Handler"),
        (print, "'print' is not async: write `async def`"),
        (lambda stream: None, "is not async"),
        (Parrot(), r"Parrot\(\) is an instance: give the class Parrot"),
    ],
    ids=["number", "class", "builtin", "lambda", "instance"],
)
def test_what_is_no_handler_is_refused(handler, message):
    with pytest.raises(HandlerError, match=message):
        check_handler(handler)


# Lifespans.


def lifespan_of(name, notes):
    @asynccontextmanager
    async def lifespan():
        notes.append(f"{name} opens")
        try:
            yield name
        finally:
            notes.append(f"{name} closes")

    return lifespan


async def shared_by(routes):
    async with routes.lifespan():
        return [routes.shared(route) for route in routes.routes]


async def test_a_lifespan_is_shared_by_all_routes():
    notes = []
    routes = Routes(Route(sales), Route(support, "/b"), lifespan=lifespan_of("pool", notes))
    assert await shared_by(routes) == ["pool", "pool"]
    assert notes == ["pool opens", "pool closes"]


async def test_a_handlers_own_lifespan_comes_first():
    class Own(Handler):
        lifespan = staticmethod(lifespan_of("own", []))

    routes = Routes(Route(Own), Route(sales, "/b"), lifespan=lifespan_of("pool", []))
    assert await shared_by(routes) == ["own", "pool"]


async def test_a_handler_of_two_routes_has_one_lifespan():
    notes = []

    class Own(Handler):
        lifespan = staticmethod(lifespan_of("own", notes))

    assert await shared_by(Routes(Route(Own), Route(Own, "/b"))) == ["own", "own"]
    assert notes == ["own opens", "own closes"]


async def test_without_a_lifespan_nothing_is_shared():
    assert await shared_by(Routes(Route(sales))) == [None]


async def test_nothing_is_shared_after_the_lifespan():
    routes = Routes(Route(sales), lifespan=lifespan_of("pool", []))
    await shared_by(routes)
    assert routes.shared(routes.routes[0]) is None


def ready(notes):
    class Ready(Handler):
        @classmethod
        @asynccontextmanager
        async def serving(cls, settings):
            notes.append(f"ready for {settings}")
            yield
            notes.append("done")

    return Ready


async def test_a_handler_gets_ready_for_each_route_within_the_lifespans():
    notes = []
    handler = ready(notes)
    routes = Routes(
        Route(handler, settings={"city": "York"}),
        Route(handler, "/b"),
        lifespan=lifespan_of("pool", notes),
    )
    assert await shared_by(routes) == ["pool", "pool"]
    assert notes == [
        "pool opens",
        "ready for {'city': 'York'}",
        "ready for {}",
        "done",
        "done",
        "pool closes",
    ]


def test_what_a_lifespan_yields_is_the_streams():
    async def handler(stream):
        shared.append(stream.shared)

    shared = []
    called(Routes(Route(handler), lifespan=lifespan_of("pool", [])), until_closed)
    assert shared == ["pool"]


def test_a_turn_is_told_to_its_hook():
    class Agent(Handler):
        async def on_start(self):
            self.stream.report(Turn(number=1, agent="hello"))

        async def on_turn(self, turn):
            told.append(turn.agent)

    told = []
    called(Agent, until(0.5))
    assert told == ["hello"]


def test_only_a_class_with_on_answer_gets_ready():
    class Ready(Handler):
        async def on_answer(self, answer, shared):
            pass

    assert isinstance(Route(Ready).prepare(), Ready)
    assert Route(Parrot).prepare() is None
    assert Route(Echo).prepare() is None
