"""Anthropic's models as language models, over the Messages API.

https://platform.claude.com/docs/en/api/messages/create.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, TypeAlias, Unpack, get_args

import msgspec
import structlog

from mediaserver.agents.services.alternating_turns import prompt_texts
from mediaserver.agents.services.anthropic.answer import (
    AnthropicAnswer,
    AnthropicEvent,
    decode_anthropic_event,
)
from mediaserver.agents.services.anthropic.client import AnthropicClient
from mediaserver.agents.services.anthropic.messages import (
    anthropic_messages,
    anthropic_tools,
    has_thinking,
    without_thinking,
)
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.event_client import EventConnection, require_texts
from mediaserver.agents.services.http_service import HttpService
from mediaserver.agents.services.laid_over import laid_over
from mediaserver.agents.services.language_model import Message, Tokens, ToolCall, ToolSpec


AnthropicThinking: TypeAlias = Literal["disabled", "between_tools", "adaptive"]
AnthropicEffort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]

_SERVICE: Final = "anthropic"
_LEAST_BUDGET: Final = 1024
_STALL: Final = 4.0
_STALL_THINKING: Final = 30.0

_log = structlog.get_logger("mediaserver.agents.anthropic")


class AnthropicModel(HttpService[AnthropicClient]):
    """A `LanguageModel` of Anthropic's.

    Args:
        model: the model's name.
        max_tokens: the most tokens of an answer, thinking included.
        thinking: whether the model thinks before it answers, which a caller waits for:
            ``disabled``; ``between_tools``, for models that do not take ``disabled``, such as
            ``claude-sonnet-5-5``; ``adaptive``: the model decides; a number of tokens, from 1024
            on, for models before Claude 4.7; or None for the model's own default. `check` finds out
            whether the model takes it.
        effort: how much effort the model puts into an answer; None is the model's default.
        cache: how long Anthropic keeps what it has read of a conversation, which makes the next
            answer cheaper; None has nothing kept.
        extra: further fields of the request in the API's form, laid over all others:
            ``{"service_tier": "standard_only"}``.
        first_timeout: seconds until the answer begins, including retries.
        stall_timeout: seconds for which the answer may pause; None is 4, or 30 if the model may
            think.
        connection: see `EventClient`. The key is in ``ANTHROPIC_API_KEY``.

    Raises:
        ValueError: a setting has no such value, or ``extra`` a field that this class sets itself.

    """

    _own = frozenset({"model", "messages", "system", "tools", "stream", "max_tokens"})

    def __init__(
        self,
        model: str = "claude-haiku-5-5",
        *,
        max_tokens: int = 4096,
        thinking: AnthropicThinking | int | None = "disabled",
        effort: AnthropicEffort | None = None,
        cache: Literal["5m", "1h"] | None = "5m",
        extra: Mapping[str, Any] | None = None,
        first_timeout: float = 8.0,
        stall_timeout: float | None = None,
        **connection: Unpack[EventConnection],
    ) -> None:
        require_texts(model=model)
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise ValueError(f"max_tokens must be a whole number, 1 or more, not {max_tokens!r}")
        if stall_timeout is None:
            quiet = thinking in ("disabled", "between_tools")
            stall_timeout = _STALL if quiet else _STALL_THINKING
        client = AnthropicClient(_SERVICE, **connection)
        super().__init__(client, model, extra, first_timeout, stall_timeout)
        settings: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "stream": True}
        if thinking is not None:
            settings["thinking"] = _thinking(thinking, max_tokens)
        if effort is not None:
            if effort not in get_args(AnthropicEffort):
                levels = ", ".join(get_args(AnthropicEffort))
                raise ValueError(f"effort must be one of {levels}, not {effort!r}")
            settings["output_config"] = {"effort": effort}
        if cache is not None:
            if cache not in ("5m", "1h"):
                raise ValueError(f"cache must be '5m', '1h' or None, not {cache!r}")
            settings["cache_control"] = {"type": "ephemeral", "ttl": cache}
        self._effort = effort
        self._settings = laid_over(settings, self._extra)

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncGenerator[str | ToolCall | Tokens, None]:
        """Yield the response as it is written; thinking is left out.

        Closing the iterator, or cancelling the task that waits on it, ends the request.

        Raises:
            ServiceError: the service failed, the model refused to answer, or a limit was reached.
            NoAnswerError: the answer has no words and no tool call.

        """
        answer = AnthropicAnswer(self._client)
        events = self._in_time(self._events(self._request(conversation, tools)))
        async with aclosing(events):
            async for event in events:
                piece = answer.read(event)
                if piece is not None:
                    yield piece
        if answer.tokens is not None:
            yield answer.tokens
        answer.end()

    def _request(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> dict[str, Any]:
        messages = anthropic_messages(conversation)
        if not messages:
            raise ServiceError(_SERVICE, "nothing to respond to: no message has any text")
        request = {**self._settings, "messages": messages}
        if prompts := prompt_texts(conversation):
            request["system"] = "\n\n".join(prompts)
        if tools:
            request["tools"] = anthropic_tools(tools)
        return request

    async def _events(self, request: dict[str, Any]) -> AsyncGenerator[AnthropicEvent, None]:
        """Yield the events of an answer, without those that only keep the connection."""
        begun = False
        try:
            async with aclosing(self._ask(request)) as events:
                async for event in events:
                    begun = True
                    yield event
            return
        except ServiceError as error:
            messages = request["messages"]
            refused = error.status == 400 and "thinking" in error.reason
            if begun or not refused or not has_thinking(messages):
                raise
            _log.warning("asks without the thinking", service=_SERVICE, error=str(error))
        again = {**request, "messages": without_thinking(messages)}
        async with aclosing(self._ask(again)) as events:
            async for event in events:
                yield event

    async def _ask(self, request: dict[str, Any]) -> AsyncGenerator[AnthropicEvent, None]:
        async with aclosing(
            self._client.events("messages", msgspec.json.encode(request))
        ) as events:
            async for data in events:
                try:
                    event = decode_anthropic_event(data)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._client.failure(f"an event cannot be read: {error}") from error
                if event.type != "ping":
                    yield event

    async def check(self) -> None:
        """Find out whether the server accepts the key and the model's settings: see `Checked`."""
        thinking = self._settings.get("thinking")
        await self._client.check(
            self._model, thinking=thinking and thinking["type"], effort=self._effort
        )


def _thinking(thinking: Any, max_tokens: int) -> dict[str, Any]:
    if isinstance(thinking, int) and not isinstance(thinking, bool):
        if not _LEAST_BUDGET <= thinking < max_tokens:
            raise ValueError(
                f"thinking must be {_LEAST_BUDGET} tokens or more, and fewer than max_tokens "
                f"({max_tokens}), not {thinking}"
            )
        return {"type": "enabled", "budget_tokens": thinking}
    if thinking not in get_args(AnthropicThinking):
        kinds = ", ".join(get_args(AnthropicThinking))
        raise ValueError(
            f"thinking must be one of {kinds}, or a number of tokens, not {thinking!r}"
        )
    if thinking == "adaptive":
        # Thoughts are not spoken; without them, the first word comes earlier.
        return {"type": thinking, "display": "omitted"}
    return {"type": thinking}
