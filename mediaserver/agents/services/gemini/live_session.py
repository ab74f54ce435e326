"""A session with Gemini's Live API, for one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from audiocodecs import AudioFormat
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.gemini.live_events import (
    SERVICE_NAME,
    LiveServerMessage,
    decode_live_message,
)
from mediaserver.agents.services.gemini.live_exchange import LiveExchange, SessionState
from mediaserver.agents.services.gemini.live_messages import update_message
from mediaserver.agents.services.language_model import Message, ToolSpec
from mediaserver.agents.services.realtime import RealtimeEvent
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.call import Frame


OpenSocket: TypeAlias = Callable[[SessionState], Awaitable[ServiceSocket]]

log = structlog.get_logger("mediaserver.agents.gemini")


class GeminiLiveSession:
    """A session of `GeminiLive`: the connection of a `LiveExchange`.

    The API keeps the state of the session under a handle: when the connection is lost or about to
    be closed, the session goes on over another one, is told what was said since that state, and
    asks again for what has not begun.

    Args:
        open_socket: opens a connection.
        state: what it is told.
        format: the call's audio format.
        takes_turns: whether the API takes the turns.
        transcribes: whether the API transcribes the caller's speech.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds from one sign of a response to the next.

    """

    def __init__(
        self,
        open_socket: OpenSocket,
        state: SessionState,
        *,
        format: AudioFormat,
        takes_turns: bool,
        transcribes: bool,
        first_timeout: float,
        stall_timeout: float,
    ) -> None:
        self.takes_turns = takes_turns
        self._open_socket = open_socket
        self._state = state
        self._exchange = LiveExchange(
            state,
            format=format,
            takes_turns=takes_turns,
            transcribes=transcribes,
            first_timeout=first_timeout,
            stall_timeout=stall_timeout,
            clock=asyncio.get_running_loop().time,
        )
        self._closed = False
        # Whether another connection is being made, and whether that one has to be told another
        # prompt or other tools than it was opened with.
        self._resuming = self._outdated = False
        # Whether this connection is about to be closed, and whether anything has come over it.
        self._leaving = False
        self._fruitful = True
        self._leaves: asyncio.Task[None] | None = None  # closes the former connection
        self._patience: asyncio.Timeout | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            ServiceError: the API cannot be reached, or refuses the settings.

        """
        self._socket = await self._open_socket(self._state)
        self._state.history = []

    async def update(self, *, prompt: str, tools: Sequence[ToolSpec]) -> None:
        """Take another prompt and other tools, from the next response on."""
        self._state.prompt, self._state.tools = prompt, tools
        self._outdated = True
        await self._send()

    # What the caller does, and what the model is to do: see `LiveExchange`.

    async def hear(self, frame: Frame) -> None:
        """Let the model hear a piece of the caller's speech."""
        if self._exchange.hear(frame):
            await self._send()

    async def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""
        self._exchange.end_turn()
        await self._send()

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting."""
        self._exchange.say(instructions)
        await self._send()

    async def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""
        self._exchange.respond()
        await self._send()

    async def tell(self, message: Message) -> None:
        """Add something to the conversation.

        Where the agent takes the turns, it is sent with what is asked of the model next; where the
        API does, with that or with the next of the caller's audio while nobody speaks.
        """
        self._exchange.tell(message)

    async def cancel(self) -> None:
        """Drop the response that is being made, and forget those asked for."""
        self._exchange.cancel()
        await self._send()

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Tell the model that the caller heard only `seconds` of an item."""
        self._exchange.truncate(item_id, seconds)

    # What the model says.

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        """Yield what the model says and does until the session is closed.

        Raises:
            ServiceError: the connection was lost or a response stalled, and the session could not
                be resumed.

        """
        while True:
            try:
                received = await self._receive()
            except TimeoutError:
                if told := self._exchange.give_up_waiting():
                    for event in told:
                        yield event
                    await self._send()
                    continue
                lost = ServiceError(SERVICE_NAME, "a response stalled")
            except ServiceError as error:
                lost = error
            else:
                message = decode_live_message(received)
                if message is not None:
                    self._note(message)
                    for event in self._exchange.take(message):
                        yield event
                    await self._send()
                    await self._leave_early()
                continue
            if self._closed:
                return
            if not self._can_resume:
                raise lost
            for event in self._exchange.broken_off():
                yield event
            await self._resume(lost.reason)

    def _note(self, message: LiveServerMessage) -> None:
        """Note what a message says of the connection."""
        if message.server_content is not None or message.tool_call is not None:
            self._fruitful = True
        if message.go_away is not None:
            log.debug("the connection will be closed", within=message.go_away.time_left)
            self._leaving = True

    # The connection.

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            await self._socket.close()
            if self._leaves is not None:
                await self._leaves

    async def _send(self) -> None:
        """Send what has not been sent, in order; the socket keeps nobody waiting."""
        if self._resuming:
            return
        if self._outdated:
            self._outdated = False
            await self._socket.send(update_message(self._state.prompt, self._state.tools))
        while (message := self._exchange.next_message()) is not None:
            await self._socket.send(message)
        due, patience = self._exchange.due, self._patience
        if patience is not None and patience.when() != due and not patience.expired():
            patience.reschedule(due)

    async def _receive(self) -> bytes | str:
        """Return the next message.

        Raises:
            ServiceError: the connection was lost.
            TimeoutError: the next sign of a response did not come.

        """
        try:
            async with asyncio.timeout_at(self._exchange.due) as self._patience:
                return await self._socket.receive()
        finally:
            self._patience = None

    @property
    def _can_resume(self) -> bool:
        """Whether the API has kept the session, and the connection was of any use."""
        return self._state.handle is not None and self._fruitful

    async def _leave_early(self) -> None:
        """Replace a connection that is about to be closed, if nothing is lost or late by that."""
        if not (self._leaving and self._exchange.is_idle and self._can_resume):
            return
        try:
            await self._resume("it was about to be closed")
        except ServiceError as error:
            # It is still good. When it is closed, there is another attempt.
            self._leaving = False
            log.warning("session not resumed early", service=SERVICE_NAME, reason=error.reason)
            await self._send()

    async def _resume(self, why: str) -> None:
        """Go on over another connection.

        Raises:
            ServiceError: the session cannot be resumed.

        """
        self._resuming, self._outdated = True, False
        try:
            socket = await self._open_socket(self._state)
        finally:
            self._resuming = False
        if self._closed:
            await socket.close()
            return
        log.info("session resumed", service=SERVICE_NAME, reason=why)
        if self._leaves is not None:
            await self._leaves
        self._leaves = asyncio.create_task(self._socket.close())
        self._socket = socket
        self._leaving = self._fruitful = False
        self._exchange.resumed()
        await self._send()
