"""Language models, and the messages of a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """Something said, or the prompt."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks to use a tool.

    Attributes:
        id: the id by which the result refers to it.
        name: the tool's name.
        arguments: a JSON object, as the model wrote it.
        extra: fields of the provider's own, which it wants back with the conversation.

    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call, for the model to read.

    Attributes:
        call_id: the id of the call.
        text: what the model reads.
        error: why there is no result, for whoever operates the server; None if there is one.

    """

    call_id: str
    text: str
    error: str | None = field(default=None, compare=False)


Message: TypeAlias = Text | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """The description of a tool for a model.

    Attributes:
        name: its name, of letters, digits and underscores.
        description: what it does.
        parameters: the JSON schema of its arguments, an object.

    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The cost of a response.

    Attributes:
        tokens_in: tokens read, including those from a cache.
        tokens_out: tokens written.
        tokens_cached: tokens read that came from the provider's cache.

    """

    tokens_in: int
    tokens_out: int
    tokens_cached: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.tokens_cached + other.tokens_cached,
        )


class LanguageModel(Protocol):
    """Decides what to say next. One object serves all calls of a process."""

    def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[str | ToolCall | Tokens]:
        """Yield the response as it is written: pieces of text, tool calls, and the cost.

        Args:
            conversation: the messages so far, the prompt first.
            tools: the tools that the model may use.

        Raises:
            ServiceError: the service failed.
            NoAnswerError: the answer is of no use; it is asked for once more.

        """
        ...
