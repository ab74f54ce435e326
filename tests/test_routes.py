import sys
import types
from contextlib import asynccontextmanager

import pytest

from mediaserver.agents import Echo, Parrot
from mediaserver.handler import Handler, HandlerError
from mediaserver.routes import Route, Routes, load_name
from mediaserver.testing import joined, run_virtual


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


def test_only_a_class_with_on_answer_gets_ready():
    class Ready(Handler):
        async def on_answer(self, answer, shared):
            pass

    assert isinstance(Route(Ready).prepare(), Ready)
    assert Route(Parrot).prepare() is None
    assert Route(Echo).prepare() is None
