"""The session of a call with a realtime model: told the conversation, the prompt and the tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.kept_connection import KeptConnection
from mediaserver.agents.services import (
    Message,
    RealtimeEvent,
    RealtimeModel,
    RealtimeSession,
    ServiceError,
    ToolSpec,
    Updatable,
)


REALTIME_MODEL: Final = "realtime_model"
"""The name under which a failure is counted if the model does not name itself."""


class KeptSession(KeptConnection[RealtimeSession]):
    """Holds the session of one call.

    Args:
        model: opens sessions.
        conversation: what a session is told when it is opened.
        instructions: returns the prompt and the tools as they are now.
        take: takes what the model says and does, once the stream has started.
        lost: told of the error when a session was lost; not called once the call has ended.
        connecting: called before each attempt to connect.
        ended: tells whether the call has ended.

    Attributes:
        takes_turns: whether the model's side takes the turns, as the latest session said.

    """

    def __init__(
        self,
        model: RealtimeModel,
        conversation: Conversation,
        instructions: Callable[[], tuple[str, Sequence[ToolSpec]]],
        *,
        take: Callable[[RealtimeEvent], Awaitable[None]],
        lost: Callable[[ServiceError], None],
        connecting: Callable[[], None],
        ended: Callable[[], bool],
    ) -> None:
        super().__init__(
            REALTIME_MODEL, self._connect_model, opened=self._begin, lost=lost, ended=ended
        )
        self.takes_turns = False
        self._model = model
        self._conversation = conversation
        self._instructions = instructions
        self._take = take
        self._connecting = connecting
        # What the current session was opened with, and told since.
        self._format: AudioFormat = MULAW_8K
        self._told: tuple[str, Sequence[ToolSpec]] = ("", ())
        self._messages: list[Message] = []

    async def prepare(self, format: AudioFormat) -> None:
        """Open a session before the stream has started, for the `format` that it will likely have.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        if self.tasks is None:
            self._format = format
            await super().ready()

    async def open(self, tasks: CallTasks, format: AudioFormat) -> None:
        """Begin to take what the model says, as the stream has started in `format`.

        A session that was opened for another format, or with another conversation, is replaced;
        one that was opened for another prompt as well, if it cannot be updated.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        async with self._lock:
            self.tasks = tasks
            session = self.current
            fits = (
                self._format is format
                and self._messages == self._conversation.messages
                and (not self._has_changed or isinstance(session, Updatable))
            )
            self._format = format
            if session is not None and fits:
                self._begin(session)
            elif session is not None:
                self.current = None
                self.let_go(session)
        await self.ready()

    async def ready(self) -> RealtimeSession:
        """Return the session, opening one if there is none, with the prompt and tools of now.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        session = await super().ready()
        updatable: object = session
        if session is self.current and self._has_changed and isinstance(updatable, Updatable):
            prompt, tools = self._told = self._instructions()
            await self.do(session, updatable.update(prompt=prompt, tools=tools))
        return session

    @property
    def _has_changed(self) -> bool:
        """Whether the prompt or the tools have changed since the session was told them."""
        return self._told != self._instructions()

    async def _connect_model(self) -> RealtimeSession:
        self._connecting()
        prompt, tools = self._told = self._instructions()
        self._messages = self._conversation.messages
        return await self._model.connect(
            prompt=prompt, tools=tools, format=self._format, conversation=self._messages
        )

    def _begin(self, session: RealtimeSession) -> None:
        self.takes_turns = session.takes_turns
        if self.tasks is not None:
            following = self.follow(session, aiter(session.events()), self._take)
            self.tasks.start(following, "hears the model")
