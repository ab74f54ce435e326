import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest

from mediaserver.agents import Echo, Parrot
from mediaserver.handler import Handler, HandlerError
from mediaserver.routes import Route, Routes, load_name
from mediaserver.stream import Stream
from mediaserver.testing import joined, run_virtual


async def nothing(stream: Any) -> None:
    async for _ in stream.audio():
        pass


def called(handler: Any, test: Any, **how: Any) -> Any:
    """Run `test` on the line of a call to `handler`."""

    async def main() -> Any:
        async with joined(handler, **how) as line:
            await test(line)
        return line

    return run_virtual(main())


async def until_closed(line: Any) -> None:
    await line.phone.wait_closed()


def test_a_path_and_a_number_are_text() -> None:
    with pytest.raises(HandlerError, match="must begin with a slash: 8000 does not"):
        Route(nothing, 8000)  # type: ignore[arg-type]
    with pytest.raises(
        HandlerError, match=r"phone number with its country code.*; not 14155550100"
    ):
        Route(nothing, number=14155550100)  # type: ignore[arg-type]


def test_a_path_begins_with_a_slash() -> None:
    with pytest.raises(HandlerError, match="must begin with a slash: 'stream' does not"):
        Route(nothing, path="stream")


def test_a_route_is_named_after_its_handler() -> None:
    assert Route(nothing).name == "nothing"
    assert Route(Parrot).name == "Parrot"


def test_a_route_of_a_callable_object_is_named_after_its_class() -> None:
    class Greeter:
        async def __call__(self, stream: Any) -> None:
            pass

    assert Route(Greeter()).name.endswith("Greeter")


def test_a_routes_settings_go_to_the_handler() -> None:
    async def handler(stream: Any, *, greeting: Any = None) -> None:
        greetings.append(greeting)

    greetings: list[Any] = []
    called(Routes(Route(handler, settings={"greeting": "hello"})), until_closed)
    assert greetings == ["hello"]


def test_there_must_be_a_route() -> None:
    with pytest.raises(HandlerError, match="at least one route"):
        Routes()


async def sales(stream: Any) -> None:
    pass


async def support(stream: Any) -> None:
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
        ("/stream", "sip:+14155550100@10.0.0.1", support),
        ("/stream", "sip:14155550100@pbx2.example.com:5060;transport=udp", support),
        ("/stream", "sip:agent7@phone.plivo.com", nothing),
        ("/sales", None, sales),
        ("/sales", "14155550100", sales),
    ],
)
def test_routes_match_by_path_and_number(path: Any, number: Any, handler: Any) -> None:
    route = ROUTES.match(path, number)
    assert route is not None
    assert route.handler is handler


@pytest.mark.parametrize("path", ["/", "/other", "/stream/more", ""])
def test_other_paths_match_nothing(path: Any) -> None:
    assert ROUTES.match(path) is None


def test_the_root_path_is_a_path() -> None:
    route = Route(nothing, "/")
    assert Routes(route).match("") is route


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Route(sales), Route(support, "/stream/")),
        (Route(sales, number="+1 415"), Route(support, number="1415")),
    ],
)
def test_two_routes_for_the_same_calls_are_refused(first: Any, second: Any) -> None:
    with pytest.raises(HandlerError, match="two routes have the path /stream"):
        Routes(first, second)


@pytest.mark.parametrize("number", ["sales", "", "+", "555 call us", "sip:@host"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(HandlerError, match="or a SIP address, such as sip:user@host; not '"):
        Route(sales, number=number)


def test_a_route_may_have_the_address_of_a_sip_endpoint() -> None:
    route = Route(sales, number="sip:agent7@phone.plivo.com")
    routes = Routes(route, Route(nothing))
    assert routes.match("/stream", "SIP:agent7@Phone.Plivo.com;transport=udp") is route
    assert routes.for_number("sip:agent7@phone.plivo.com") is route
    assert routes.match("/stream", "sip:agent8@phone.plivo.com") is not route


def test_a_path_may_have_parameters() -> None:
    tenants = Route(sales, "/t/{tenant}")
    special = Route(support, "/t/{tenant}", "+14155550100")
    routes = Routes(tenants, special, Route(nothing))
    assert routes.match("/t/acme") is tenants
    assert routes.match("/t/acme", "sip:14155550100@x") is special
    assert tenants.path_params("/t/acme") == {"tenant": "acme"}
    assert routes.has_path("/t/other/")
    assert not routes.has_path("/t/acme/more")


def test_a_number_alone_leads_to_no_path_with_parameters() -> None:
    routes = Routes(Route(sales, "/t/{tenant}"), Route(support, "/t/{tenant}", "14155550100"))
    assert routes.for_number("14155550100") is None


def test_paths_that_differ_only_in_the_names_of_parameters_are_the_same() -> None:
    with pytest.raises(HandlerError, match=r"two routes have the path /t/\{b\}"):
        Routes(Route(sales, "/t/{a}"), Route(support, "/t/{b}"))


@pytest.mark.parametrize("path", ["/t/{", "/t/{a:number}", "/{a}/{a}"])
def test_a_malformed_path_is_refused(path: str) -> None:
    with pytest.raises(HandlerError, match="a route's path is malformed: '/"):
        Route(sales, path)
    with pytest.raises(HandlerError, match="a route's path is malformed: '/"):
        Routes.load(f"{path}=mediaserver.agents:Echo")


def test_a_hook_that_is_not_async_is_refused() -> None:
    class Late(Handler):
        def on_dtmf(self, digit: Any) -> Any:
            pass

    with pytest.raises(HandlerError, match=r"Late\.on_dtmf is not async"):
        Route(Late)


def test_a_route_with_a_number_alone_takes_no_other_call() -> None:
    assert Routes(Route(support, number="14155550100")).match("/stream", "1") is None


@pytest.mark.parametrize(
    ("number", "handler"), [("+14155550100", support), ("1", nothing), (None, nothing)]
)
def test_a_number_finds_its_route_whatever_the_path(number: Any, handler: Any) -> None:
    route = ROUTES.for_number(number)
    assert route is not None
    assert route.handler is handler


def test_a_number_may_find_no_route() -> None:
    assert Routes(Route(support, number="14155550100")).for_number("1") is None


def test_paths_are_listed_once() -> None:
    assert ROUTES.paths == ["/stream", "/sales"]


def test_calls_go_where_their_path_says() -> None:
    async def main() -> Any:
        async def on_sales(stream: Any) -> None:
            taken.append(stream.path)

        taken: list[Any] = []
        async with joined(Routes(Route(nothing), Route(on_sales, "/sales")), path="/sales") as line:
            await line.phone.wait_closed()
        return taken

    assert run_virtual(main()) == ["/sales"]


# Names on a command line.


def test_a_spec_names_a_handler() -> None:
    (route,) = Routes.load("mediaserver.agents:Echo").routes
    assert (route.handler, route.path, route.number) == (Echo, "/stream", None)


def test_a_spec_may_name_a_path() -> None:
    (route,) = Routes.load("/echo=mediaserver.agents:Echo").routes
    assert route.path == "/echo"


def test_a_spec_may_name_a_number() -> None:
    (route,) = Routes.load("+14155550100=mediaserver.agents:Echo", path="/media").routes
    assert (route.path, route.number) == ("/media", "+14155550100")


def test_specs_add_up() -> None:
    routes = Routes.load("/a=mediaserver.agents:Echo", "mediaserver.agents:Parrot")
    assert [(route.handler, route.path) for route in routes.routes] == [
        (Echo, "/a"),
        (Parrot, "/stream"),
    ]


@pytest.fixture
def module(monkeypatch: Any) -> Any:
    module = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def test_a_spec_may_name_routes(module: Any) -> None:
    module.routes = Routes(Route(sales, "/sales"), Route(support, "/support"))
    assert Routes.load("shop:routes").paths == ["/sales", "/support"]


def test_the_lifespan_of_named_routes_is_kept(module: Any) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield "pool"

    async def main() -> Any:
        async with routes.lifespan():
            return routes.shared(routes.routes[0])

    module.routes = Routes(Route(sales), lifespan=lifespan)
    routes = Routes.load("shop:routes")
    assert run_virtual(main()) == "pool"


def test_named_routes_have_their_own_paths(module: Any) -> None:
    module.routes = Routes(Route(sales))
    with pytest.raises(HandlerError, match="shop:routes is a Routes object and has its own paths"):
        Routes.load("/other=shop:routes")


def test_a_condition_is_a_path_or_a_number() -> None:
    with pytest.raises(HandlerError, match=r"'sales' is neither a path \(/sales\) nor a number"):
        Routes.load("sales=mediaserver.agents:Echo")


@pytest.mark.parametrize("name", ["mediaserver.agents:", ":Echo", "", "a:b:c", ".a:B"])
def test_a_name_is_that_of_a_module_and_an_attribute(name: Any) -> None:
    with pytest.raises(HandlerError, match=rf"named package.module:Name .*, not '{name}'"):
        load_name(name)


def test_an_attribute_may_be_nested(module: Any) -> None:
    class Shop:
        sell = sales

    module.Shop = Shop
    assert load_name("shop:Shop.sell") is sales


@pytest.mark.parametrize(
    ("name", "missing"), [("nosuch:Echo", "nosuch"), ("mediaserver.nosuch:X", "mediaserver.nosuch")]
)
def test_a_module_that_does_not_exist_is_named(name: Any, missing: Any) -> None:
    with pytest.raises(HandlerError, match=f"there is no module '{missing}'.*check the spelling"):
        load_name(name)


def test_a_module_with_one_handler_need_not_name_it(module: Any) -> None:
    async def agent(stream: Any) -> None: ...
    async def look_up(number: str) -> None: ...

    for function in (agent, look_up):
        function.__module__ = "shop"
        setattr(module, function.__name__, function)
    module.Parrot = Parrot  # imported there
    assert load_name("shop") is agent


def test_a_handler_that_others_extend_is_not_meant(module: Any) -> None:
    class Base(Handler):
        __module__ = "shop"

    class Shop(Base):
        __module__ = "shop"

    module.Base, module.Shop = Base, Shop
    assert load_name("shop") is Shop


def test_routes_are_meant_before_their_handlers(module: Any) -> None:
    module.nothing, module.ROUTES = nothing, Routes(Route(nothing))
    assert load_name("shop") is module.ROUTES


def test_several_handlers_are_listed(module: Any) -> None:
    for name in ("Day", "Night"):
        setattr(module, name, type(name, (Handler,), {"__module__": "shop"}))
    with pytest.raises(HandlerError, match="name one, as in shop:Day; it has Day, Night"):
        load_name("shop")


def test_a_module_without_a_handler_is_refused(module: Any) -> None:
    with pytest.raises(HandlerError, match=r"shop has no handler: write `async def agent"):
        load_name("shop")


def test_what_is_almost_a_handler_is_told_what_it_lacks(module: Any) -> None:
    async def agent() -> None: ...

    agent.__module__ = "shop"
    module.agent = agent
    with pytest.raises(HandlerError, match=r"takes no argument: write `async def agent"):
        Routes.load("shop")


@pytest.mark.parametrize("annotation", [Stream, "Stream", "mediaserver.Stream", "'Stream'"])
def test_a_function_with_an_annotated_stream_is_meant(module: Any, annotation: Any) -> None:
    async def agent(call: Any) -> None: ...
    async def look_up(number: str) -> None: ...

    agent.__annotations__["call"] = annotation
    for function in (agent, look_up):
        function.__module__ = "shop"
        setattr(module, function.__name__, function)
    assert load_name("shop") is agent


def test_a_route_must_be_in_routes(module: Any) -> None:
    module.ROUTE = Route(nothing)
    with pytest.raises(HandlerError, match="shop is a Route: put it into Routes"):
        Routes.load("shop")
    with pytest.raises(HandlerError, match="shop:ROUTE is a Route: put it into Routes"):
        Routes.load("shop:ROUTE")


def test_routes_are_made_of_routes() -> None:
    with pytest.raises(HandlerError, match=r"write Routes\(Route\(Parrot\)\)"):
        Routes(Parrot)  # type: ignore[arg-type]
    with pytest.raises(HandlerError, match=r"not list: .* as in Routes\(\*routes\)"):
        Routes([Route(nothing)])  # type: ignore[arg-type]
    with pytest.raises(HandlerError, match=r"not Routes: .* as in Routes\(\*others.routes\)"):
        Routes(Routes(Route(nothing)))  # type: ignore[arg-type]


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(HandlerError, match="has no 'Ecko'; did you mean 'Echo'"):
        load_name("mediaserver.agents:Ecko")


def test_a_far_miss_is_not() -> None:
    with pytest.raises(HandlerError, match=r"has no 'Quux'$"):
        load_name("mediaserver.agents:Quux")


# Lifespans.


def lifespan_of(name: Any, notes: Any) -> Any:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        notes.append(f"{name} opens")
        try:
            yield name
        finally:
            notes.append(f"{name} closes")

    return lifespan


async def shared_by(routes: Any) -> Any:
    async with routes.lifespan():
        return [routes.shared(route) for route in routes.routes]


async def test_a_lifespan_is_shared_by_all_routes() -> None:
    notes: list[Any] = []
    routes = Routes(Route(sales), Route(support, "/b"), lifespan=lifespan_of("pool", notes))
    assert await shared_by(routes) == ["pool", "pool"]
    assert notes == ["pool opens", "pool closes"]


@asynccontextmanager
async def exits() -> AsyncIterator[None]:
    yield sys.exit(3)


@asynccontextmanager
async def never_yields() -> AsyncIterator[None]:
    for _ in ():
        yield


@pytest.mark.parametrize(
    ("lifespan", "text"),
    [
        (exits, r"the lifespan of Routes called sys.exit\(3\)"),
        (never_yields, "the lifespan of Routes has ended without a `yield`"),
        (lambda: nullcontext(), None),
        (lambda: 3, "with @asynccontextmanager: it returned int"),
    ],
)
async def test_a_lifespan_that_cannot_be_entered_is_told(lifespan: Any, text: Any) -> None:
    routes = Routes(Route(sales), lifespan=lifespan)
    with nullcontext() if text is None else pytest.raises(HandlerError, match=text):
        await shared_by(routes)


async def test_a_handlers_own_lifespan_comes_first() -> None:
    class Own(Handler):
        lifespan = staticmethod(lifespan_of("own", []))

    routes = Routes(Route(Own), Route(sales, "/b"), lifespan=lifespan_of("pool", []))
    assert await shared_by(routes) == ["own", "pool"]


async def test_a_handler_of_two_routes_has_one_lifespan() -> None:
    notes: list[Any] = []

    class Own(Handler):
        lifespan = staticmethod(lifespan_of("own", notes))

    assert await shared_by(Routes(Route(Own), Route(Own, "/b"))) == ["own", "own"]
    assert notes == ["own opens", "own closes"]


async def test_without_a_lifespan_nothing_is_shared() -> None:
    assert await shared_by(Routes(Route(sales))) == [None]


async def test_nothing_is_shared_after_the_lifespan() -> None:
    routes = Routes(Route(sales), lifespan=lifespan_of("pool", []))
    await shared_by(routes)
    assert routes.shared(routes.routes[0]) is None


def ready(notes: Any) -> Any:
    class Ready(Handler):
        def __init__(self, city: str = "") -> None: ...

        @classmethod
        @asynccontextmanager
        async def serving(cls, settings: Any) -> AsyncIterator[Any]:
            notes.append(f"ready for {settings}")
            yield
            notes.append("done")

    return Ready


async def test_a_handler_gets_ready_for_each_route_within_the_lifespans() -> None:
    notes: list[Any] = []
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


def test_what_a_lifespan_yields_is_the_streams() -> None:
    async def handler(stream: Any) -> None:
        shared.append(stream.shared)

    shared: list[Any] = []
    called(Routes(Route(handler), lifespan=lifespan_of("pool", [])), until_closed)
    assert shared == ["pool"]


def test_only_a_class_with_on_answer_gets_ready() -> None:
    class Ready(Handler):
        async def on_answer(self, answer: Any, shared: Any) -> None:
            pass

    assert isinstance(Route(Ready).prepare(), Ready)
    assert Route(Parrot).prepare() is None
    assert Route(Echo).prepare() is None


def test_a_route_has_a_label_and_may_have_a_limit() -> None:
    assert Route(Echo, "/sales").label == "/sales"
    assert Route(Echo, number="+14155550100", max_calls=2).label == "/stream +14155550100"
    with pytest.raises(HandlerError, match="at least 1, not 0"):
        Route(Echo, max_calls=0)
