from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.agents.conversing.departure import Departure
from mediaserver.agents.conversing.tools import Toolbox
from mediaserver.agents.services import ToolCall
from mediaserver.stream import CallControlError
from mediaserver.testing import run_virtual


URLS = {"sales": "https://example.com/s.xml", "desk": "https://example.com/d.xml"}


class Stream:
    """Notes what is done to the call, or refuses it."""

    call_id, stream_id = "call", "stream"

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.done: list[Any] = []

    async def hang_up(self) -> None:
        await self.transfer("hung up")

    async def transfer(self, url: str) -> None:
        if self.refuses:
            raise CallControlError("no right to")
        self.done.append(url)

    def close(self) -> None:
        self.done.append("closed")


def departing(stream: Any, *, can_hang_up: Any = True, transfers: Any = URLS) -> Any:
    departure = Departure(lambda: stream, transfers, can_hang_up=can_hang_up)
    toolbox = Toolbox(*departure.tools.values())

    def use(name: str, arguments: str = "{}") -> str:
        return run_virtual(toolbox.use(ToolCall("1", name, arguments))).text

    return SimpleNamespace(departure=departure, toolbox=toolbox, use=use)


def test_a_model_hangs_up_and_transfers_by_tools() -> None:
    stream = Stream()
    call = departing(stream)
    assert call.use("hang_up") == "The call has ended."
    assert call.use("transfer", '{"to": "desk"}') == "The call has been transferred."
    assert stream.done == ["hung up", URLS["desk"]]
    assert call.departure.done


def test_tools_are_there_as_they_are_allowed() -> None:
    assert list(departing(Stream()).departure.tools) == ["hang_up", "transfer"]
    assert departing(Stream(), can_hang_up=False, transfers={}).departure.tools == {}


def test_the_model_is_told_where_to() -> None:
    (tool,) = departing(Stream(), can_hang_up=False).toolbox.specs
    assert tool.parameters["properties"] == {
        "to": {"enum": ["sales", "desk"], "type": "string", "description": "where to."}
    }


def test_agents_with_other_transfers_do_not_mix_them_up() -> None:
    departing(Stream())
    (tool,) = departing(Stream(), can_hang_up=False, transfers={"a": "https://a"}).toolbox.specs
    assert tool.parameters["properties"]["to"]["const"] == "a"


@pytest.mark.parametrize("tool", [("hang_up",), ("transfer", '{"to": "sales"}')])
def test_a_refusal_is_told_to_the_model_and_the_call_goes_on(
    tool: tuple[str, str] | tuple[str],
) -> None:
    call = departing(Stream(refuses=True))
    assert "no right to" in call.use(*tool)
    assert not call.departure.done


@pytest.mark.parametrize("to", ["hang_up", "sales"])
def test_who_must_leave_closes_the_stream_if_it_is_refused(to: str) -> None:
    stream = Stream(refuses=True)
    call = departing(stream)
    run_virtual(call.departure.leave(to))
    assert stream.done == ["closed"]
    assert call.departure.done
