"""The conversation of a call, as both sides know it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from mediaserver.agents.services import Message, Text, ToolCall, ToolResult
from mediaserver.call import Turn


RUNNING = "It was begun, and is not done yet. Its result is not known."
"""Stands for the result of a tool until the tool is done."""

NOT_BEGUN = "It was not done, because the caller went on speaking."
"""Stands for the result of hanging up or transferring until that is done."""


class Saying:
    """Something the agent says. All of it counts as said until it is known what the caller heard.

    Attributes:
        text: what the conversation has of it; empty text is left out.

    """

    __slots__ = ("text",)

    role: ClassVar[Literal["assistant", "user"]] = "assistant"

    def __init__(self) -> None:
        self.text = ""


class CallerSaying(Saying):
    """Something the caller said, whose words may become known after the answer has begun."""

    __slots__ = ()

    role: ClassVar[Literal["assistant", "user"]] = "user"


class Conversation:
    """The messages of a call, without the prompt.

    Of the agent's words it has those that the caller has heard, and those yet to be heard. Every
    tool call has a result from the beginning: until the tool is done, a text says so.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[Message | Saying] = []

    @property
    def messages(self) -> list[Message]:
        """The messages, as a language model reads them."""
        messages: list[Message] = []
        for entry in self._entries:
            if not isinstance(entry, Saying):
                messages.append(entry)
                continue
            text = entry.text.strip()
            last = messages[-1] if messages else None
            if text and isinstance(last, Text) and last.role == entry.role:
                messages[-1] = Text(entry.role, f"{last.text} {text}")
            elif text:
                messages.append(Text(entry.role, text))
        return messages

    def add(self, message: Message) -> None:
        """Add a message."""
        self._entries.append(message)

    def recall(self, turns: Iterable[Turn]) -> None:
        """Add what both sides said in an earlier stream of the call. Tool calls are not known."""
        for turn in turns:
            if turn.caller:
                self.hear(turn.caller)
            if turn.agent:
                self.add(Text("assistant", turn.agent))

    def hear(self, text: str) -> None:
        """Add what the caller said.

        If the last message is the caller's too, both become one.
        """
        for index in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[index]
            if isinstance(entry, Saying) and not entry.text:
                continue
            if isinstance(entry, Text) and entry.role == "user":
                self._entries[index] = Text("user", f"{entry.text} {text}")
                return
            break
        self._entries.append(Text("user", text))

    def listen(self) -> CallerSaying:
        """Make a place for what the caller said, until its words are known."""
        hearing = CallerSaying()
        self._entries.append(hearing)
        return hearing

    def say(self) -> Saying:
        """Make a place for something that the agent says."""
        saying = Saying()
        self._entries.append(saying)
        return saying

    def call(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> None:
        """Add tool calls, and the texts that stand for their results until they are known."""
        self._entries.extend(calls)
        self._entries.extend(results)

    def returned(self, result: ToolResult) -> None:
        """Replace the text that stands for the result of a tool call.

        Raises:
            LookupError: the conversation has no such call.

        """
        for index in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[index]
            if isinstance(entry, ToolResult) and entry.call_id == result.call_id:
                self._entries[index] = result
                return
        raise LookupError(f"the conversation has no tool call {result.call_id!r}")
