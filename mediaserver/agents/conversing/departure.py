"""How an agent leaves a call: it hangs up or transfers it, by a tool or because it gives up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from types import MethodType
from typing import Any, Literal

import structlog

from mediaserver.agents.conversing.tools import Tool, built_in
from mediaserver.stream import CallControlError, Stream


log = structlog.get_logger("mediaserver.agents")

HANG_UP = "hang_up"
TRANSFER = "transfer"


class Departure:
    """The end of an agent's part of a call.

    Args:
        stream: returns the call's stream.
        transfers: where the call may be transferred: names, and the URLs of answer XML.
        can_hang_up: whether the model gets a tool that hangs up.

    Attributes:
        done: whether the call was hung up or transferred.
        tools: the tools with which a model leaves. Their results say whether that was possible.

    """

    def __init__(
        self, stream: Callable[[], Stream], transfers: Mapping[str, str], *, can_hang_up: bool
    ) -> None:
        self._stream = stream
        self._transfers = transfers
        self.done = False
        self.tools: dict[str, Tool] = {}
        if can_hang_up:
            self.tools[HANG_UP] = self.hang_up
        if transfers:
            self.tools[TRANSFER] = MethodType(_transfer_tool(tuple(transfers)), self)

    @built_in
    async def hang_up(self) -> str:
        """End the call, when the conversation is over and goodbye has been said."""
        return await self._try(self._stream().hang_up(), "The call has ended.")

    async def transfer(self, to: str) -> str:
        """Transfer the call to the name `to`."""
        departing = self._stream().transfer(self._transfers[to])
        return await self._try(departing, "The call has been transferred.")

    async def leave(self, to: str = HANG_UP) -> None:
        """Hang up, or transfer the call to the name `to`; if that is refused, close the stream."""
        self.done = True
        stream = self._stream()
        try:
            if to == HANG_UP:
                await stream.hang_up()
            else:
                await stream.transfer(self._transfers[to])
        except CallControlError as error:
            self._log("stream closed", error)
            stream.close()

    async def _try(self, departing: Awaitable[None], told: str) -> str:
        try:
            await departing
        except CallControlError as error:
            self._log("call control failed", error)
            return f"That was not possible: {error}. The call goes on."
        self.done = True
        return told

    def _log(self, event: str, error: CallControlError) -> None:
        stream = self._stream()
        log.warning(event, reason=str(error), call=stream.call_id, stream=stream.stream_id)


@cache
def _transfer_tool(names: tuple[str, ...]) -> Callable[..., Awaitable[str]]:
    """Return a tool that transfers the call to one of `names`."""

    @built_in
    async def transfer(departure: Any, to: str) -> str:
        """Transfer the caller to somebody else, which ends your part of the call.

        Args:
            departure: whose it is.
            to: where to.

        """
        told: str = await departure.transfer(to)
        return told

    transfer.__annotations__["to"] = Literal[names]
    return transfer
