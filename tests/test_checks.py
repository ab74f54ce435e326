import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from audiocodecs import Wav, silence
from mediaserver.agents import Menu, Parrot, Player, Transcriber, VoiceAgent
from mediaserver.checks import check_handler, try_out
from mediaserver.handler import Handler, HandlerError
from mediaserver.routes import Route, Routes
from mediaserver.testing.services import TimedModel, TimedSpeech, TimedTranscription


async def nothing(stream: Any) -> None: ...


class Greeter:
    async def __call__(self, stream: Any) -> None:
        pass

    async def greet(self, stream: Any) -> None:
        pass


@pytest.mark.parametrize(
    "handler",
    [nothing, Parrot, functools.partial(nothing), Greeter(), Greeter().greet],
    ids=["function", "class", "partial", "object", "method"],
)
def test_async_callables_and_handler_classes_are_handlers(
    handler: Callable[..., Any] | Greeter | type[Parrot],
) -> None:
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
def test_what_is_no_handler_is_refused(
    handler: Callable[..., Any] | Parrot | int | type[NoHandler], message: str
) -> None:
    with pytest.raises(HandlerError, match=message):
        check_handler(handler)


def problems(handler: Any, settings: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(HandlerError) as refused:
        check_handler(handler, {} if settings is None else settings)
    return str(refused.value).splitlines()


async def none() -> None: ...
async def two(stream: Any, other: Any) -> None: ...
async def generator(stream: Any) -> AsyncIterator[int]:
    yield 1


class NoArguments:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (none, "none() -> None takes no argument: write `async def none(stream)`"),
        (NoArguments(), "NoArguments() -> None takes no argument"),
        (two, 'two needs other: set it in its route, as in Route(two, settings={"other": …})'),
        (functools.partial(two, 1), None),
        (functools.partial(two, other=1), None),
        (generator, "'generator' is an async generator: a handler awaits stream.play(…)"),
    ],
)
def test_a_function_takes_the_stream(handler: Any, text: str | None) -> None:
    if text is None:
        check_handler(handler, {})
    else:
        (line,) = problems(handler)
        assert line.startswith(text)


def test_what_is_called_already_or_belongs_to_a_class_is_no_handler() -> None:
    assert problems(nothing(None)) == [
        "nothing() has been called: give the function nothing itself, without parentheses"
    ]
    assert problems(Greeter.greet) == [
        (
            "Greeter.greet is a method of a class: give that of an instance, or a subclass of "
            "mediaserver.Handler"
        )
    ]
    assert problems(Greeter) == [
        (
            "the class Greeter is not a subclass of mediaserver.Handler: name an instance of it, "
            "as in agent = Greeter(…)"
        )
    ]


def test_a_partial_function_is_told_by_the_name_of_its_function() -> None:
    (line,) = problems(functools.partial(cast(Any, two), third=3))
    assert line.startswith("two does not take what functools.partial gives it: ")
    (line,) = problems(functools.partial(two), {})
    assert line.startswith("two needs other: ")


def test_a_function_takes_the_settings_of_its_route() -> None:
    async def agent(stream: Any, *, greeting: str = "") -> None: ...

    check_handler(agent, {"greeting": "Hello"})
    check_handler(two, {"other": 1})
    assert problems(agent, {"greting": ""}) == [
        f"{agent.__qualname__} has no setting 'greting'; did you mean 'greeting'?"
    ]
    assert problems(nothing, {"greeting": ""}) == [
        "nothing has no setting 'greeting': it takes none"
    ]


def test_settings_that_are_not_known_yet_are_not_checked() -> None:
    check_handler(two)
    check_handler(Player)


def test_settings_are_a_mapping() -> None:
    assert problems(nothing, [1]) == [  # type: ignore[arg-type]
        "the settings of a route are a mapping, not [1]"
    ]


def handler_with(name: str, method: Any) -> type[Handler]:
    return type("Shop", (Handler,), {"__module__": "shop", name: method})


async def bare(self: Any) -> None: ...
async def with_stream(self: Any, stream: Any) -> None: ...
async def with_defaults(self: Any, digit: str = "", *more: Any) -> None: ...


@pytest.mark.parametrize(
    ("name", "method", "text"),
    [
        ("on_strat", bare, "Shop.on_strat is not a hook; did you mean 'on_start'?"),
        ("on_dmtf", with_stream, "Shop.on_dmtf is not a hook; did you mean 'on_dtmf'?"),
        ("onStart", bare, "Shop.onStart is not a hook; did you mean 'on_start'?"),
        ("on_call_came", bare, "Shop.on_call_came is not a hook, and nothing calls it: the "),
        ("on_start", with_stream, "`async def on_start(self)`: the stream is self.stream"),
        (
            "on_dtmf",
            bare,
            "Shop.on_dtmf(self: Any) -> None must be `async def on_dtmf(self, digit)`",
        ),
        ("on_audio", lambda self, frame: None, "Shop.on_audio is not async: write `async def`"),
        ("on_stop", generator, "Shop.on_stop is an async generator: a hook has no `yield`"),
        (
            "__call__",
            bare,
            "Shop.__call__(self: Any) -> None must be `async def __call__(self, stream)`",
        ),
    ],
)
def test_a_hook_is_spelt_and_called_as_the_server_does(name: str, method: Any, text: str) -> None:
    (line,) = problems(handler_with(name, method))
    assert text in line


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("on_dtmf", with_defaults),
        ("start", bare),
        ("only_open", bare),
        ("once", bare),
        ("strat", bare),
        ("on_sale", property(lambda self: True)),
    ],
)
def test_other_methods_are_the_applications_own(name: str, method: Any) -> None:
    check_handler(handler_with(name, method), {})


def test_a_method_that_the_application_calls_may_have_any_name() -> None:
    class Shop(Handler):
        async def on_started(self) -> None: ...
        async def on_booked(self) -> None: ...

        async def on_start(self) -> None:
            await self.on_started()
            await getattr(self, "on_booked")()  # noqa: B009

    check_handler(Shop, {})


def decorator(function: Any) -> Any:
    @functools.wraps(function)
    def passes_on(*arguments: Any) -> Any:
        return function(*arguments)

    return passes_on


def test_a_decorator_may_pass_on_what_an_async_function_returns() -> None:
    class Shop(Handler):
        on_start = decorator(bare)
        on_stop = functools.partialmethod(two)

    check_handler(decorator(nothing), {})
    check_handler(Shop, {})


class Listener:
    """As of a library, in another module than its subclasses."""

    __module__ = "listeners"

    def on_connect(self) -> None: ...


def test_methods_that_something_else_may_call_are_no_misspelt_hooks() -> None:
    class Shop(Handler, Listener):
        keys: ClassVar[dict[str, Any]] = {}

        async def on_ended_early(self) -> None: ...

        keys["5"] = on_ended_early

        def on_connect(self) -> None: ...

        @decorator
        async def on_parcel(self) -> None: ...

    check_handler(Shop, {})


def test_a_hook_is_no_static_method() -> None:
    assert problems(handler_with("on_start", staticmethod(bare))) == [
        "Shop.on_start(self: Any) -> None must be `async def on_start(self)`, without @staticmethod"
    ]


def test_the_hooks_of_agents_are_hooks() -> None:
    class Shop(VoiceAgent):
        async def on_transcript(self, transcript: Any) -> None: ...
        async def on_barge_in(self) -> None: ...  # type: ignore[override]

    (line,) = problems(Shop, {**services(), "greeting": None})
    assert line.endswith("must be `async def on_barge_in(self, confirmed)`")


class Named(Handler):
    def __init__(self, name: str) -> None:
        self.name = name


def test_a_class_takes_the_settings_of_its_route() -> None:
    (line,) = problems(Named)
    assert line.startswith(
        'Named needs name: set it in its route, as in Route(Named, settings={"name": …})'
    )
    check_handler(Named, {"name": "Ann"})
    assert problems(Handler, {"name": "Ann"}) == ["Handler has no setting 'name': it takes none"]
    assert problems(Parrot, {"levle": 1}) == [
        "Parrot has no setting 'levle'; did you mean 'level'?"
    ]


def services() -> dict[str, Any]:
    return {
        "speech_to_text": TimedTranscription(),
        "language_model": TimedModel(),
        "text_to_speech": TimedSpeech(),
    }


def test_everything_that_is_wrong_is_listed() -> None:
    class Shop(VoiceAgent):
        promt = "Be brief."
        barge_in = "sometimes"  # type: ignore[assignment]
        language_model = None  # type: ignore[assignment]

        async def on_satrt(self) -> None: ...

    assert [line.partition(" ")[2] for line in problems(Shop)] == [
        "is not a hook; did you mean 'on_start'?"
    ]
    del Shop.on_satrt
    text = problems(Shop)
    assert [
        "has no setting 'promt'; did you mean 'prompt'?" in text[0],
        "has no speech_to_text: set it as" in text[1],
        "has no text_to_speech" in text[2],
        "barge_in must be one of 'decide', 'at_once', 'notify', not 'sometimes'" in text[3],
        "language_model must be a LanguageModel, with a method 'respond', not None" in text[4],
    ] == [True] * 5


def test_a_file_that_cannot_be_played_is_found_before_a_call() -> None:
    (line,) = problems(Player, {"clips": ["nosuch.wav", Wav(silence(1, 8000), 8000)]})
    assert "'nosuch.wav'" in line


def test_a_menus_choice_is_checked_as_a_route_is() -> None:
    with pytest.raises(HandlerError, match="Player needs clips"):
        Menu(prompt=Wav(silence(1, 8000), 8000), choices={"1": Player})


def test_a_class_that_lacks_methods_is_no_handler() -> None:
    from mediaserver.agents import Agent

    (line,) = problems(Agent)
    assert line.startswith("Agent cannot be used by itself: a subclass must have hear, ")


async def not_a_context() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def with_argument(app: Any) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def of_instances(self: Any) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def called() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("lifespan", "text"),
    [
        (not_a_context, "lifespan is an async function: put @asynccontextmanager above it"),
        (with_argument, "must take no argument"),
        (of_instances, "must take no argument: put @staticmethod above it"),
        (called(), "lifespan has been called: give the function itself, without parentheses"),
        (3, "lifespan must be a function with @asynccontextmanager, not 3"),
    ],
)
def test_a_lifespan_is_an_async_context_manager(lifespan: Any, text: str) -> None:
    with pytest.raises(HandlerError, match=text):
        Routes(Route(nothing), lifespan=lifespan)
    (line,) = problems(type("Shop", (Handler,), {"lifespan": lifespan, "__module__": __name__}))
    assert text in line


class Broken(Handler):
    def __init__(self, path: str = "nosuch.txt") -> None:
        self.text = Path(path).read_text()


def test_an_instance_of_each_class_is_made_when_a_server_starts() -> None:
    check_handler(Broken, {})
    routes = Routes(Route(Broken), Route(Broken, "/b"), Route(Named, "/c", settings={"name": ""}))
    number = Broken.__init__.__code__.co_firstlineno + 1
    with pytest.raises(
        HandlerError, match=rf"^\S*test_checks.py:{number}: FileNotFoundError: [^\n]*nosuch[^\n]*$"
    ):
        routes.try_out()


def test_a_subclass_with_its_own_constructor_is_checked_by_an_instance() -> None:
    class Shop(Player):
        def __init__(self) -> None:
            super().__init__("nosuch.wav")

    with pytest.raises(HandlerError, match=r"'nosuch\.wav'"):
        try_out(Shop, {})


def test_a_constructor_of_another_form_is_told() -> None:
    class Awaiting(Handler):
        async def __init__(self) -> None: ...  # type: ignore[misc]

    class Without(Handler):
        def __init__() -> None: ...  # type: ignore[misc]

    name = Awaiting.__qualname__
    assert problems(Awaiting) == [f"{name}.__init__ is async: write `def`, and await in on_start"]
    check_handler(Without, {})
    with pytest.raises(HandlerError, match="takes 0 positional arguments but 1 was given"):
        try_out(Without, {})


def test_a_constructor_cannot_end_the_server() -> None:
    class Shop(Handler):
        def __init__(self) -> None:
            raise SystemExit(3)

    with pytest.raises(HandlerError, match=r"sys\.exit"):
        try_out(Shop, {})


def test_functions_and_other_classes_need_no_instance() -> None:
    for handler in (nothing, Parrot):
        try_out(handler, {})


def say(stream: Any, keys: str) -> None: ...
async def say_nothing(stream: Any) -> None: ...


@pytest.mark.parametrize("otherwise", [say, say_nothing, "again"])
def test_what_a_menu_does_with_other_keys_takes_them(otherwise: Any) -> None:
    with pytest.raises(HandlerError, match=r"otherwise .*`async def \w+\(stream, keys\)`"):
        Menu(prompt=Wav(silence(1, 8000), 8000), otherwise=otherwise)


def test_a_service_of_another_kind_is_refused() -> None:
    wrong = {"text_to_speech": TimedModel()}
    (line,) = problems(Player, {"clips": "hello", **wrong})
    assert line.startswith("Player: text_to_speech must be a TextToSpeech, with a method 'speak'")
    (line,) = problems(Transcriber, {"speech_to_text": TimedTranscription})
    assert line.startswith("Transcriber: speech_to_text must be an instance: write TimedTrans")
    with pytest.raises(ValueError, match="text_to_speech must be a TextToSpeech"):
        Menu(prompt="hello", choices={"1": "again"}, **cast(Any, wrong))
