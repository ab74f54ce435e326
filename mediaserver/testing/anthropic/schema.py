"""The published types of what clients send to Anthropic's Messages API, closed.

https://platform.claude.com/docs/en/api/messages/create, version 2026-10-21, as far as phone agents
may use it: a field or a value that is not here is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mediaserver.testing.http_server import RefusedError


_Name = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,128}$")]


class _Closed(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    pass


class WireCacheControl(_Closed):
    """How long what was read is kept."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class _Block(_Closed, tag_field="type", kw_only=True):
    pass


class WireTextBlock(_Block, tag="text"):
    """A text."""

    text: Annotated[str, msgspec.Meta(pattern=r"\S")]
    cache_control: WireCacheControl | None = None


class WireThinkingBlock(_Block, tag="thinking"):
    """Thinking that is sent back."""

    thinking: str
    signature: str


class WireRedactedBlock(_Block, tag="redacted_thinking"):
    """Thinking that only the API can read."""

    data: str


class WireToolUse(_Block, tag="tool_use"):
    """A tool call that is sent back."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]+$")]
    name: _Name
    input: dict[str, Any]
    cache_control: WireCacheControl | None = None


class WireToolResult(_Block, tag="tool_result"):
    """The result of a tool call."""

    tool_use_id: str
    content: str | list[WireTextBlock] | None = None
    is_error: bool | None = None
    cache_control: WireCacheControl | None = None


WireBlock = WireTextBlock | WireThinkingBlock | WireRedactedBlock | WireToolUse | WireToolResult


class WireTurn(_Closed):
    """What one side said."""

    role: Literal["user", "assistant"]
    content: str | list[WireBlock]

    @property
    def blocks(self) -> list[WireBlock]:
        """The blocks of the content."""
        return [WireTextBlock(text=self.content)] if isinstance(self.content, str) else self.content


class WireInputSchema(msgspec.Struct):
    """The arguments of a tool; JSON Schema has more fields than this."""

    type: Literal["object"]


class WireAnthropicTool(_Closed):
    """A tool."""

    name: _Name
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    cache_control: WireCacheControl | None = None

    def __post_init__(self) -> None:
        msgspec.convert(self.input_schema, WireInputSchema)


class _Thinking(_Closed, tag_field="type"):
    pass


class WireDisabled(_Thinking, tag="disabled"):
    """No thinking."""


class WireBetweenTools(_Thinking, tag="between_tools"):
    """No thinking, but for what is said between tools."""


class WireAdaptive(_Thinking, tag="adaptive"):
    """As much thinking as the model wants."""

    display: Literal["summarized", "omitted"] | None = None


class WireBudget(_Thinking, tag="enabled"):
    """Thinking of a limited length."""

    budget_tokens: Annotated[int, msgspec.Meta(ge=1024)]
    display: Literal["summarized", "omitted"] | None = None


class WireOutput(_Closed):
    """How much effort there is in an answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: dict[str, Any] | None = None


class WireMetadata(_Closed):
    """Who asks."""

    user_id: str | None = None


class WireToolChoice(_Closed):
    """Whether the model uses tools."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessagesRequest(_Closed):
    """The body of a request."""

    model: str
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: Annotated[list[WireTurn], msgspec.Meta(min_length=1, max_length=100_000)]
    stream: Literal[True]
    system: str | list[WireTextBlock] | None = None
    tools: list[WireAnthropicTool] = []
    tool_choice: WireToolChoice | None = None
    thinking: WireDisabled | WireBetweenTools | WireAdaptive | WireBudget | None = None
    output_config: WireOutput | None = None
    cache_control: WireCacheControl | None = None
    metadata: WireMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard", "fast"] | None = None
    stop_sequences: list[str] | None = None
    inference_geo: str | None = None


def read_messages_request(body: bytes) -> MessagesRequest:
    """Return a request.

    Raises:
        RefusedError: it is not JSON, a field is unknown, missing or wrong, or a value is not in its
            enum.

    """
    try:
        return msgspec.json.decode(body, type=MessagesRequest)
    except msgspec.ValidationError as error:
        raise RefusedError(400, str(error), "invalid_request_error") from None
    except msgspec.DecodeError as error:
        raise RefusedError(400, f"not JSON: {error}", "invalid_request_error") from None
