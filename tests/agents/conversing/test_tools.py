from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import gc
import json
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal, cast
from weakref import ReferenceType

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.conversing.tools import Toolbox, ToolError, built_in, marked_tools, tool
from mediaserver.agents.services import ToolCall
from mediaserver.call import StreamEndedError
from mediaserver.testing import run_virtual


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Guest(pydantic.BaseModel):
    """Who comes."""

    name: str
    age: int = 30


@dataclasses.dataclass
class Table:
    number: int
    free: bool


async def book(
    day: datetime.date,
    guest: Guest,
    kind: Literal["inside", "outside"] = "inside",
    size: Size = Size.SMALL,
    copy: Annotated[int, pydantic.Field(description="How many.", ge=1)] = 1,
    schema: str | None = None,
) -> dict[str, object]:
    """Book a table
    for somebody.

    It is charged.

    Args:
        day: the day,
            as YYYY-MM-DD.
        guest (Guest): who comes.
        copy: not what the model is told.

    Returns:
        What was booked.

    """
    return {"day": day, "guest": guest, "kind": kind, "size": size, "copy": copy, "schema": schema}


def use(function: Any, arguments: str) -> str:
    name = getattr(function, "__name__", "")
    call = ToolCall("call-1", name, arguments)
    return asyncio.run(Toolbox(function).use(call)).text


def test_a_model_is_told_of_a_function() -> None:
    spec = Toolbox(book).specs[0]
    assert (spec.name, spec.description) == ("book", "Book a table for somebody.\n\nIt is charged.")
    properties = spec.parameters["properties"]
    assert spec.parameters["type"] == "object"
    assert spec.parameters["required"] == ["day", "guest"]
    assert properties["day"] == {
        "type": "string",
        "format": "date",
        "description": "the day, as YYYY-MM-DD.",
    }
    assert properties["guest"]["description"] == "who comes."
    assert properties["kind"] == {
        "type": "string",
        "enum": ["inside", "outside"],
        "default": "inside",
    }
    assert properties["copy"]["description"] == "How many."
    assert spec.parameters["$defs"]["Size"]["enum"] == ["small", "large"]
    json.dumps(spec.parameters)


GOOGLE = """Find a table.

Args:
    day (date): the day,
        as YYYY-MM-DD.
"""
SPHINX = """Find a table.

:param day: the day, as YYYY-MM-DD.
"""
NUMPY = """Find a table.

Parameters
----------
day : date
    the day, as YYYY-MM-DD.
"""


@pytest.mark.parametrize("docstring", [GOOGLE, SPHINX, NUMPY], ids=["Google", "Sphinx", "NumPy"])
def test_a_docstring_may_have_any_usual_style(docstring: str) -> None:
    async def find(day: str) -> None: ...

    find.__doc__ = docstring
    (spec,) = Toolbox(find).specs
    assert spec.description == "Find a table."
    assert spec.parameters["properties"]["day"]["description"] == "the day, as YYYY-MM-DD."


def test_a_docstring_of_no_style_is_told_as_it_is() -> None:
    async def find(day: str) -> None: ...

    find.__doc__ = ":\n :a b c d: e\n:\n :a b c d: e\n:"
    (spec,) = Toolbox(find).specs
    assert spec.description == find.__doc__


def test_a_function_without_arguments_has_an_empty_schema() -> None:
    async def now() -> str:
        return "noon"

    spec = Toolbox(now).specs[0]
    assert spec.parameters["properties"] == {}
    assert spec.description == ""
    for nothing in ("", " {} ", "null", "[]", '""', '"{}"'):
        assert use(now, nothing) == "noon"
    assert "extra" in use(now, '{"reason": "done"}').casefold()


def test_a_tool_of_the_agents_own_ignores_what_it_does_not_know() -> None:
    @built_in
    async def leave() -> str:
        return "left"

    @built_in
    async def go(to: str) -> str:
        return to

    for text in ('{"reason": "done"}', '{"reason": "do', '["done"]', '"done"'):
        assert use(leave, text) == "left"
    assert use(go, '{"to": "town", "why": 1}') == use(go, r'"{\"to\": \"town\"}"') == "town"
    for text in ('{"why": 1}', "[1]", '{"to', '{"to": ' * 100_000):
        assert use(go, text).startswith("go was not called")


def test_why_a_call_is_refused_is_known_before_it_is_made() -> None:
    async def find(day: datetime.date) -> str:
        return "found"

    toolbox = Toolbox(find)
    assert toolbox.refusal(ToolCall("a", "find", '{"day": "2030-01-02"}')) is None
    assert "soon" in str(toolbox.refusal(ToolCall("a", "find", '{"day": "soon"}')))
    assert "no tool" in str(toolbox.refusal(ToolCall("a", "look", "{}")))


def test_a_function_gets_arguments_of_its_types() -> None:
    result = json.loads(
        use(book, '{"day": "2030-01-02", "guest": {"name": "Ann"}, "size":"large"}')
    )
    assert result == {
        "day": "2030-01-02",
        "guest": {"name": "Ann", "age": 30},
        "kind": "inside",
        "size": "large",
        "copy": 1,
        "schema": None,
    }


@pytest.mark.parametrize(
    ("arguments", "reasons"),
    [
        ('{"day": "soon", "guest": {"name": "Ann"}}', ["day: ", "not 'soon'"]),
        ('{"day": "2030-01-02"}', ["guest: Field required"]),
        ('{"day": "2030-01-02", "guest": {"name": 5}}', ["guest.name: ", "not 5"]),
        ('{"day": "2030-01-02", "guest": {"name": "Ann"}, "copy": 0}', ["copy: ", "not 0"]),
        ('{"day": "2030-01-02", "guest": {"name": "Ann"}, "when": 1}', ["when: Extra", "not 1"]),
        ('{"day"', ["arguments: Invalid JSON"]),
        ("[]", ["day: Field required", "guest: Field required"]),
        ("[1]", ["arguments: "]),
    ],
)
def test_wrong_arguments_are_explained_to_the_model(arguments: str, reasons: list[str]) -> None:
    result = use(book, arguments)
    assert result.startswith("book was not called")
    assert [reason for reason in reasons if reason not in result] == []
    schema = result.partition("of this schema: ")[2]
    assert json.loads(schema) == Toolbox(book).specs[0].parameters


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.just("number") | st.text(max_size=5), each, max_size=3)
    ),
    max_leaves=5,
)


@given(st.text(max_size=20) | ANY_JSON.map(json.dumps))
def test_whatever_a_model_writes_gets_a_result(arguments: str) -> None:
    async def double(number: int) -> int:
        return 2 * number

    assert isinstance(use(double, arguments), str)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "Done."),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (Guest(name="Ann"), '{"name":"Ann","age":30}'),
        (Table(3, True), '{"number":3,"free":true}'),
        ([datetime.date(2030, 1, 2), Size.LARGE], '["2030-01-02","large"]'),
        (1.5, "1.5"),
        (ValueError("odd"), '"odd"'),
    ],
)
def test_a_result_is_text(value: Any, text: str) -> None:
    async def give() -> object:
        return value

    assert use(give, "{}") == text


def test_a_failure_is_logged_and_its_reason_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise LookupError("password is 1234")

    with caplog.at_level(logging.ERROR):
        result = use(fail, "{}")
    assert result == "fail failed. It is not known whether it had any effect."
    assert "password is 1234" in caplog.text


def test_what_fails_as_text_is_a_failure() -> None:
    class Unwritable:
        def __str__(self) -> Any:
            raise ValueError

    async def give() -> object:
        return Unwritable()

    assert use(give, "{}").startswith("give failed")


async def test_a_tool_that_is_cancelled_ends() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    using = asyncio.create_task(Toolbox(wait).use(ToolCall("1", "wait", "{}")))
    await begun.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using


async def test_a_tool_that_there_is_none_of_is_said() -> None:
    result = await Toolbox(book).use(ToolCall("7", "cook", "{}"))
    assert (result.call_id, result.text) == ("7", "There is no tool 'cook'. There are: book.")


class Desk:
    @tool(hold="One moment.")
    async def look_up(self, order: int) -> str:
        """Look up an order."""
        return f"order {order} of {self}"

    @tool
    async def close(self) -> None:
        """Close."""

    @tool(name="open_desk")
    async def open(self) -> None:
        """Open."""

    async def no_tool(self) -> None:
        """Nothing for a model."""

    def __str__(self) -> str:
        return "the desk"


class SpecialDesk(Desk):
    @tool
    async def close(self) -> None:
        """Close specially."""

    @tool
    async def last(self) -> None:
        """Come last."""


async def test_marked_methods_are_tools() -> None:
    tools = Toolbox(*marked_tools(Desk()))
    assert [spec.name for spec in tools.specs] == ["look_up", "close", "open_desk"]
    assert list(tools.specs[0].parameters["properties"]) == ["order"]
    assert (tools.hold("look_up"), tools.hold("close"), tools.hold("?")) == (
        "One moment.",
        None,
        None,
    )
    result = await tools.use(ToolCall("1", "look_up", '{"order": 5}'))
    assert result.text == "order 5 of the desk"


def test_a_subclass_has_the_tools_of_its_base() -> None:
    tools = Toolbox(*marked_tools(SpecialDesk()))
    assert [spec.name for spec in tools.specs] == ["look_up", "close", "open_desk", "last"]
    assert tools.specs[1].description == "Close specially."


def test_a_method_that_is_no_tool_any_more_is_none() -> None:
    class Quiet(Desk):
        async def close(self) -> None:
            """Not for the model."""

    assert [each.__name__ for each in marked_tools(Quiet())] == ["look_up", "open"]


def test_an_object_that_is_called_can_be_a_tool() -> None:
    class Adder:
        """Adds."""

        __name__ = "add"

        async def __call__(self, a: int, b: int = 1) -> int:
            return a + b

    assert use(Adder(), '{"a": 2}') == "3"


def sync(x: int) -> None: ...
async def unhinted(x) -> None: ...  # type: ignore[no-untyped-def] # it is refused for that
async def several(*x: int) -> None: ...
async def anything(**x: int) -> None: ...
async def by_position(x: int, /) -> None: ...
async def unknown(x: Missing) -> None: ...  # type: ignore[name-defined] # noqa: F821
async def unsendable(x: asyncio.Event) -> None: ...
async def yields(x: int) -> AsyncIterator[Any]:
    yield x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (sync, "the tool sync must be an async function"),
        (yields, "the tool yields must be an async function that returns"),
        (unhinted, "the argument 'x' of the tool unhinted has no type hint"),
        (several, r"the tool several cannot have \*x"),
        (anything, r"the tool anything cannot have \*\*x"),
        (by_position, "the tool by_position cannot have x"),
        (unknown, "'Missing' is not defined"),
        (unsendable, "an argument of the tool unsendable has a type that cannot be sent as JSON"),
        (lambda: None, "has no name for a model"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        Toolbox(function)


def test_a_sync_function_is_refused_where_it_is_marked() -> None:
    with pytest.raises(ToolError, match="the tool sync must be an async function"):
        tool(hold="One moment.")(cast(Any, sync))


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolError, match="two tools named 'book'"):
        Toolbox(book, book)


def test_a_toolbox_knows_its_tools() -> None:
    tools = Toolbox(book)
    assert ("book" in tools, "cook" in tools, len(tools)) == (True, False, 1)


def test_a_method_is_described_once_for_all_objects() -> None:
    class Desk:
        def __init__(self, name: str) -> None:
            self.name = name

        @tool(hold="Wait.")
        async def who(self, loud: bool = False) -> str:
            """Tell who is there."""
            return self.name.upper() if loud else self.name

    boxes = [Toolbox(*marked_tools(Desk(name))) for name in ("ann", "bob")]
    assert boxes[0].specs[0] is boxes[1].specs[0]
    call = ToolCall("1", "who", '{"loud": true}')
    results = [asyncio.run(box.use(call)).text for box in boxes]
    assert results == ["ANN", "BOB"]


def test_a_function_that_is_marked_anew_is_described_anew() -> None:
    async def look() -> None:
        """Look."""

    assert "look" in Toolbox(look)
    assert "find" in Toolbox(tool(name="find")(look))
    assert Toolbox(tool(name="find", hold="Wait.")(look)).hold("find") == "Wait."


def test_a_function_that_is_gone_leaves_nothing_behind() -> None:
    def make() -> ReferenceType[Any]:
        async def look() -> None:
            """Look."""

        Toolbox(look)
        return weakref.ref(look)

    gone = make()
    gc.collect()
    assert gone() is None


def test_a_call_that_ends_while_a_tool_runs_is_no_failure_of_the_tool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def look() -> str:
        """Look."""
        raise StreamEndedError("the stream has ended")

    result = asyncio.run(Toolbox(look).use(ToolCall("1", "look", "{}")))
    assert "ended" in result.text
    assert caplog.records == []


async def test_a_tool_that_takes_too_long_is_given_up() -> None:
    cancelled = []

    @tool(timeout=0.001)
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    result = await Toolbox(wait).use(ToolCall("1", "wait", "{}"))
    assert result.text.startswith("wait took too long, more than 0.001 s")
    assert cancelled == [True]


async def test_a_timeout_of_the_tools_own_is_a_failure_as_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tool
    async def wait() -> None:
        """Wait."""
        raise TimeoutError("the kitchen does not answer")

    result = await Toolbox(wait).use(ToolCall("1", "wait", "{}"))
    assert result.text.startswith("wait failed.")
    assert "the kitchen does not answer" in caplog.text


@pytest.mark.parametrize(("marked", "seconds"), [(tool, 31.0), (tool(timeout=None), 3600.0)])
def test_tools_have_thirty_seconds_unless_they_say_otherwise(
    marked: Callable[..., Any], seconds: float
) -> None:
    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "there"

    result = run_virtual(Toolbox(marked(wait)).use(ToolCall("1", "wait", "{}")))
    assert (result.text == "there") == (seconds > 60)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_without_sense_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout is in seconds, above 0, or None"):
        tool(timeout=timeout)
