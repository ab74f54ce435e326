"""A conversation in, what to say or do next out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """Something said, or the prompt."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to be used.

    Attributes:
        id: what the result will refer to.
        name: the tool's.
        arguments: a JSON object, as the model wrote it.

    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned, as the model reads it."""

    call_id: str
    text: str


Message: TypeAlias = Text | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool, as a model is told of it.

    Attributes:
        name: letters, digits and underscores.
        description: what it is for.
        parameters: JSON schema of the object of its arguments.

    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a response cost.

    Attributes:
        tokens_in: tokens read, those from a cache included.
        tokens_out: tokens written.
        tokens_cached: of those read, how many came from the provider's cache.

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
        """Yield the response as it is written: pieces of text, tool calls, and what it cost.

        Args:
            conversation: all that was said, the prompt first.
            tools: what the model may use.

        Raises:
            ServiceError: the service failed.

        """
        ...
